/**
 * Goal: what two endpoints of our own kind do together: crossed openings, packet sizes, ports that
 * fail or change, and the order in which everything goes.
 * Method: two hosts on a simulated fabric, on virtual time.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import type { In, State } from "../../../src/actors/endpoint/EndpointState.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { Faults, Sim } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import { card, onHost, pathOf, write } from "./simHosts.ts"

const [A, B] = [pathOf("a"), pathOf("b")]

const pair = Effect.gen(function* () {
  yield* Faults.heal
  const fabric = yield* SimFabric.make()
  const network = new SimHandshakes()
  const on = (host: string) =>
    card(network, host).pipe(Effect.provide(onHost(fabric, network, host)))
  return { fabric, network, a: yield* on("a"), b: yield* on("b") }
})

const ready = (state: State): In<"Ready"> => {
  if (state._tag !== "Ready") assert.fail(`it is in ${state._tag}`)
  return state
}

/** A journal each of whose appends takes a second. */
const slowJournal = Layer.effect(
  Journal,
  Effect.map(Effect.service(Journal), (store) => ({
    ...store,
    append: (request) => Effect.delay(store.append(request), "1 second")
  }))
).pipe(Layer.provide(Journal.layerMemory))

describe("a slow journal", () => {
  it.sim("T17: delays no step of a handshake", { seeds: 5 }, () =>
    Effect.gen(function* () {
      yield* Faults.heal
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const on = (host: string) =>
        card(network, host).pipe(
          Effect.provide(Layer.merge(onHost(fabric, network, host), slowJournal))
        )
      const [a, b] = [yield* on("a"), yield* on("b")]
      const link = yield* Effect.timeout(a.store.open(B), "100 millis")
      assert.strictEqual(yield* write(a, b, link, 100), "success")
      yield* Effect.sleep("1 minute")
      assert.isTrue(link.isOpen)
      assert.strictEqual((yield* b.store.stateOf(A))._tag, "Ready")
    })
  )
})

describe("crossed openings", () => {
  it.sim(
    "R4 end in one connection with matching queue pairs",
    { seeds: 20, timeout: 120_000 },
    () =>
      Effect.gen(function* () {
        const { a, b, fabric } = yield* pair
        for (let round = 0; round < 50; round++) {
          for (const node of ["a", "b"]) {
            const millis = yield* Random.nextBetween(0, 2)
            fabric.strike({ _tag: "SlowModify", node, forMillis: 1_000, millis })
          }
          const wait = yield* Random.nextBetween(0, 1)
          const both = [a.store.open(B), Effect.delay(b.store.open(A), wait)]
          const [one, other] = yield* Effect.all(both, { concurrency: 2 })
          const [left, right] = [yield* a.store.stateOf(B), yield* b.store.stateOf(A)].map(ready)
          assert.deepStrictEqual(left!.own, right!.peer.half)
          assert.deepStrictEqual(right!.own, left!.peer.half)
          assert.strictEqual(fabric.resources().queuePairs, 4)
          yield* a.store.retire(one!, "retired", "next round")
          yield* b.store.retire(other!, "retired", "next round")
          yield* Effect.sleep("2 seconds")
          fabric.heal()
        }
        assert.strictEqual(fabric.counters.earlyPosts, 0)
      })
  )
})

describe("two endpoints", () => {
  it.sim("are one if a card talks to itself, and nobody is asked", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a, fabric } = yield* pair
      const link = yield* a.store.open(A)
      const { key, own, peer } = ready(yield* a.store.stateOf(A))
      assert.strictEqual(key, "self")
      assert.deepStrictEqual(peer.half, own)
      assert.strictEqual(yield* write(a, a, link, 64), "success")
      assert.strictEqual(fabric.counters.earlyPosts, 0)
    })
  )

  it.sim("R10 use the smaller of their packet sizes", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair
      fabric.strike({ _tag: "MtuMismatch", node: "b", forMillis: 600_000, mtu: 1024 })
      const link = yield* a.store.open(B)
      assert.strictEqual(ready(yield* a.store.stateOf(B)).peer.half.mtu, 1024)
      assert.strictEqual(yield* write(a, b, link, 8192), "success")
    })
  )

  it.sim("R16 R17 H14 end posted work once when one is retired under it", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair
      const link = yield* a.store.open(B)
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: 60_000, millis: 200 })
      const writing = yield* Effect.forkChild(write(a, b, link, 64), { startImmediately: true })
      yield* Effect.sleep("50 millis")
      yield* a.store.retire(link, "broken", "test")
      assert.strictEqual(yield* Fiber.join(writing), "flushed")
      // The next generation begins when the queue pairs of the old one have gone.
      const next = yield* a.store.open(B)
      assert.isTrue(next.isOpen)
      assert.strictEqual(fabric.resources("a").queuePairs, 2)
      yield* Effect.sleep("60 seconds")
      const batch = new CompletionBatch()
      assert.strictEqual(a.nic.completions.poll(batch), 0)
      assert.strictEqual(fabric.counters.doubleCompletions, 0)
    })
  )

  it.sim("R21 are retired with their port, and ready again after it", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair
      const link = yield* a.store.open(B)
      fabric.strike({ _tag: "PortFlap", node: "a", forMillis: 1_000 })
      yield* Sim.eventually(() => !link.isOpen, "10 millis", "the link is closed")
      yield* Effect.sleep("1 second")
      const next = yield* a.store.open(B)
      assert.strictEqual(yield* write(a, b, next, 64), "success")
    })
  )

  it.sim("R22 are made anew with the port's new GID", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair
      const link = yield* a.store.open(B)
      const before = ready(yield* a.store.stateOf(B)).own.gid
      fabric.strike({ _tag: "GidChange", node: "a" })
      yield* Sim.eventually(() => !link.isOpen, "10 millis", "the link is closed")
      const next = yield* a.store.open(B)
      assert.notStrictEqual(ready(yield* a.store.stateOf(B)).own.gid, before)
      assert.strictEqual(yield* write(a, b, next, 64), "success")
    })
  )

  it.sim("R23 leave nothing, in whatever order their Scopes close", { seeds: 10 }, () =>
    Effect.gen(function* () {
      yield* Faults.heal
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const scopes = [yield* Scope.make(), yield* Scope.make()]
      const [a] = yield* Effect.forEach(["a", "b"], (host, index) =>
        card(network, host).pipe(
          Effect.provide(onHost(fabric, network, host)),
          Scope.provide(scopes[index]!)
        )
      )
      yield* a!.store.open(B)
      const order = (yield* Random.nextBoolean) ? scopes : scopes.toReversed()
      for (const scope of order) yield* Scope.close(scope, Exit.void)
      assert.isTrue(Object.values(fabric.resources()).every((count) => count === 0))
    })
  )
})
