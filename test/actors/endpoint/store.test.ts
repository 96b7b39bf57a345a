/**
 * Goal: a store stays within its bounds, and never gives up what is connecting or in use (R20, H5,
 * R15). Method: one host whose store has two places, and hosts that come and go.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import type * as EndpointStore from "../../../src/actors/endpoint/EndpointStore.ts"
import { card, failureOf, type Host, onHost, pathOf } from "./simHosts.ts"

const names = ["p", "q", "r"]

/** A host `a` with places for two endpoints, and three others. */
const crowd = (options: Omit<EndpointStore.Options, "nic"> = {}) =>
  Effect.gen(function* () {
    yield* Faults.heal
    const fabric = yield* SimFabric.make()
    const network = new SimHandshakes()
    const make = (host: string, own: Omit<EndpointStore.Options, "nic"> = {}) =>
      card(network, host, own).pipe(Effect.provide(onHost(fabric, network, host)))
    const a = yield* make("a", { capacity: 2, ...options })
    const others = new Map<string, Host>()
    for (const name of names) others.set(name, yield* make(name))
    return { a, fabric, others }
  })

describe("a full store", () => {
  it.sim("R20 evicts what is ready and not in use, and drains it", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, fabric } = yield* crowd()
      const [p, q] = [yield* a.store.open(pathOf("p")), yield* a.store.open(pathOf("q"))]
      assert.isTrue(p.isOpen && q.isOpen)
      assert.isTrue((yield* a.store.open(pathOf("r"))).isOpen)
      assert.strictEqual(a.store.size, 2)
      assert.strictEqual([p, q].filter(({ isOpen }) => isOpen).length, 1)
      yield* Effect.sleep("1 second")
      assert.strictEqual(fabric.resources("a").queuePairs, 4)
    })
  )

  it.sim("R20: opens anew towards an evicted peer while that is still drained", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a } = yield* crowd({ eviction: "fifo" })
      const before = yield* a.store.open(pathOf("p"))
      yield* a.store.open(pathOf("q"))
      const other = yield* Effect.forkChild(a.store.open(pathOf("r")))
      while ((yield* a.store.stateOf(pathOf("p")))._tag === "Ready") yield* Effect.yieldNow
      const again = yield* a.store.open(pathOf("p"))
      yield* Fiber.join(other)
      assert.isFalse(before.isOpen)
      assert.isTrue(again.isOpen)
      assert.strictEqual(a.store.size, 2)
    })
  )

  it.sim("R20 keeps an idle endpoint that a caller is about to open", { seeds: 50 }, () =>
    Effect.gen(function* () {
      const { a } = yield* crowd()
      for (const name of ["p", "q"]) {
        const link = yield* a.store.open(pathOf(name))
        yield* a.store.retire(link, "retired", "not needed")
      }
      const opened = yield* Effect.forEach(
        names,
        (name) => Effect.exit(a.store.open(pathOf(name))),
        { concurrency: "unbounded" }
      )
      const errors = opened.flatMap((exit) => Option.toArray(Exit.findErrorOption(exit)))
      for (const error of errors) {
        if (error._tag !== "EndpointError") assert.fail(error.message)
        assert.strictEqual(error.reason._tag, "StoreFull")
      }
      assert.isAtMost(errors.length, 1)
    })
  )

  it.sim("R20 evicts the oldest if it is told to, also if it was just used", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a } = yield* crowd({ eviction: "fifo" })
      const p = yield* a.store.open(pathOf("p"))
      const q = yield* a.store.open(pathOf("q"))
      yield* a.store.open(pathOf("p"))
      yield* a.store.open(pathOf("r"))
      assert.deepStrictEqual([p.isOpen, q.isOpen], [false, true])
    })
  )

  it.sim("R20: counts an offer of a peer as a use of its endpoint", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a } = yield* crowd()
      const p = yield* a.store.open(pathOf("p"))
      const q = yield* a.store.open(pathOf("q"))
      // The oldest one would go, if it were not for this.
      const state = yield* a.store.stateOf(pathOf("p"))
      if (state._tag !== "Ready") assert.fail(`it is in ${state._tag}`)
      yield* a.store.takeOffer(state.peer)
      yield* a.store.open(pathOf("r"))
      assert.deepStrictEqual([p.isOpen, q.isOpen], [true, false])
    })
  )

  it.sim("R18 R20 stays full if no more may be drained at the same time", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a } = yield* crowd({ retiring: 0 })
      const links = [yield* a.store.open(pathOf("p")), yield* a.store.open(pathOf("q"))]
      assert.strictEqual((yield* failureOf(a.store.open(pathOf("r")))).reason._tag, "StoreFull")
      assert.isTrue(links.every(({ isOpen }) => isOpen))
    })
  )

  it.sim("R20 keeps what is connecting", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, fabric } = yield* crowd()
      fabric.strike({ _tag: "SlowModify", node: "a", forMillis: 60_000, millis: 500 })
      yield* Effect.forkChild(a.store.open(pathOf("p")))
      yield* Effect.forkChild(a.store.open(pathOf("q")))
      yield* Effect.sleep("100 millis")
      const full = yield* failureOf(a.store.open(pathOf("r")))
      assert.strictEqual(full.local, pathOf("a"))
      const limit = Effect.catchReason(Effect.fail(full), "EndpointError", "StoreFull", (reason) =>
        Effect.succeed(reason.limit)
      )
      assert.strictEqual(yield* limit, 2)
      yield* Effect.sleep("20 seconds")
      assert.strictEqual((yield* a.store.stateOf(pathOf("p")))._tag, "Ready")
      assert.strictEqual((yield* a.store.stateOf(pathOf("q")))._tag, "Ready")
    })
  )

  it.sim("R20 keeps what has work posted", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, fabric, others } = yield* crowd()
      const links = [yield* a.store.open(pathOf("p")), yield* a.store.open(pathOf("q"))]
      const request = new SendRequest()
      request.opcode = "write"
      request.scatterList.add(yield* a.nic.domain.register({ memory: 64 }))
      for (const [index, name] of ["p", "q"].entries()) {
        const target = yield* others.get(name)!.nic.domain.register({
          memory: 64,
          access: ["local-write", "remote-write"]
        })
        fabric.strike({ _tag: "Delay", from: "a", to: name, forMillis: 60_000, millis: 50 })
        request.remote(target.remoteKey, target.address)
        assert.strictEqual(links[index]!.post(request), "accepted")
      }
      assert.strictEqual((yield* failureOf(a.store.open(pathOf("r")))).reason._tag, "StoreFull")
      yield* Effect.sleep("1 second")
      assert.isTrue((yield* a.store.open(pathOf("r"))).isOpen)
    })
  )

  it.sim("H5 R15 a stranger creates nothing and evicts nobody", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, others } = yield* crowd({ admit: (peer) => peer !== pathOf("r") })
      const links = [yield* a.store.open(pathOf("p")), yield* a.store.open(pathOf("q"))]
      const refused = yield* Effect.flip(others.get("r")!.store.open(pathOf("a")))
      assert.include(refused.message, "not-admitted")
      assert.isTrue(links.every(({ isOpen }) => isOpen))
      assert.strictEqual(a.store.size, 2)
    })
  )
})

describe("offers of peers", () => {
  it.sim(
    "closed: make a bounded number of endpoints, and take none that was opened",
    { seeds: 5 },
    () =>
      Effect.gen(function* () {
        const { a, others } = yield* crowd({ capacity: 8, answered: 1 })
        const opened = yield* a.store.open(pathOf("p"))
        yield* others.get("q")!.store.open(pathOf("a"))
        yield* others.get("r")!.store.open(pathOf("a"))
        assert.strictEqual(a.store.size, 2)
        assert.isTrue(opened.isOpen)
        // One that this side opens, too, is its own from there on.
        yield* a.store.open(pathOf("r"))
        yield* others.get("q")!.store.open(pathOf("a"))
        assert.strictEqual(a.store.size, 3)
      })
  )

  it.sim("closed: are refused while those that they have made are connecting", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, fabric, others } = yield* crowd({ capacity: 8, answered: 1 })
      fabric.strike({ _tag: "SlowModify", node: "a", forMillis: 60_000, millis: 500 })
      yield* Effect.forkChild(others.get("q")!.store.open(pathOf("a")))
      yield* Effect.sleep("100 millis")
      const refused = yield* Effect.flip(others.get("r")!.store.open(pathOf("a")))
      assert.include(refused.message, "busy")
      assert.strictEqual(a.store.size, 1)
    })
  )
})

describe("R19 a peer whose endpoint was evicted", () => {
  it.sim("is told, and opens anew before its next write", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, others } = yield* crowd()
      for (const name of names.slice(0, 2)) yield* a.store.open(pathOf(name))
      const stores = names.slice(0, 2).map((name) => others.get(name)!.store)
      for (const store of stores) yield* store.open(pathOf("a"))
      yield* a.store.open(pathOf("r"))
      yield* Effect.sleep("10 millis")
      const states = yield* Effect.forEach(stores, (store) => store.stateOf(pathOf("a")))
      assert.deepStrictEqual(states.map(({ _tag }) => _tag).toSorted(), ["Idle", "Ready"])
    })
  )
})

describe("an endpoint that keeps crashing", () => {
  it.sim("ends alone, and is made anew when it is wanted again", { seeds: 3 }, () =>
    Effect.gen(function* () {
      yield* Faults.heal
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const make = (host: string) =>
        card(network, host).pipe(Effect.provide(onHost(fabric, network, host)))
      yield* Effect.all([make("p"), make("q")])
      let isBroken = true
      const memory = makeMemory()
      const journal = Journal.of({
        ...memory,
        append: (request) =>
          isBroken && request.actor.endsWith(pathOf("q"))
            ? Effect.die("broken")
            : memory.append(request)
      })
      const { store } = yield* card(network, "a").pipe(
        Effect.provideService(Journal, journal),
        Effect.provide(onHost(fabric, network, "a"))
      )
      for (let n = 0; n < 12; n++) {
        yield* Effect.flip(store.open(pathOf("q")))
        yield* Effect.sleep("300 millis")
      }
      assert.isTrue((yield* store.open(pathOf("p"))).isOpen)
      isBroken = false
      assert.strictEqual((yield* store.stateOf(pathOf("q")))._tag, "Idle")
      assert.isTrue((yield* store.open(pathOf("q"))).isOpen)
    })
  )
})
