/**
 * Goal: a card whose device is pulled out and comes back under its name is opened anew, with all
 * that stands on it: its endpoints open again and only new ones do, memory is reached by its new
 * keys, and transfers go on. It is looked for, and not for ever (R21).
 * Method: two hosts with everything but sockets, on a simulated fabric and virtual time; the device
 * is a fault.
 */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Directory } from "../../../src/actors/rdma/Directory.ts"
import { Endpoints } from "../../../src/actors/endpoint/Endpoints.ts"
import { Links } from "../../../src/actors/endpoint/Links.ts"
import * as Nic from "../../../src/actors/rdma/Nic.ts"
import { Nics } from "../../../src/actors/rdma/Nics.ts"
import { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { Faults, Sim } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, shared } from "../transfer/harness.ts"
import { card, failureOf, onHost, pathOf } from "./simHosts.ts"

const hour = 3_600_000

/** Pulls the device of a host out, and waits until it is open again. */
const replug = (fabric: SimFabric, node: string, forMillis = 5_000) =>
  Effect.suspend(() => {
    fabric.strike({ _tag: "DeviceRemoval", node, forMillis })
    return Effect.sleep(forMillis + 2_000)
  })

const both = Effect.fnUntraced(function* (how: Omit<Nic.Options, "path"> = {}) {
  yield* Faults.heal
  const fabric = yield* SimFabric.make()
  const network = new SimHandshakes()
  const on = (host: string) =>
    card(network, host, {}, how).pipe(Effect.provide(onHost(fabric, network, host)))
  return { fabric, a: yield* on("a"), b: yield* on("b") }
})

describe("R21 endpoints of a card that was pulled out", () => {
  it.sim("are retired, and new ones open when it is there again", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* both()
      const link = yield* a.store.open(pathOf("b"))
      const { device } = a.nic
      fabric.strike({ _tag: "DeviceRemoval", node: "a", forMillis: 5_000 })
      yield* Sim.eventually(() => !link.isOpen, "10 millis", "the link is closed")
      const failure = yield* failureOf(a.store.open(pathOf("b")))
      assert.strictEqual(failure.reason._tag, "Local")
      yield* Effect.sleep("7 seconds")
      assert.notStrictEqual(a.nic.device, device)
      const next = yield* a.store.open(pathOf("b"))
      assert.isTrue(next.isOpen)
      assert.isFalse(link.isOpen)
      assert.isTrue((yield* b.store.open(pathOf("a"))).isOpen)
      // Nothing is left of the old device.
      const { queuePairs, ...rest } = fabric.resources("a")
      assert.strictEqual(queuePairs, 2)
      assert.deepInclude(rest, { completionQueues: 1, protectionDomains: 1 })
    })
  )

  it.sim("are watched over in the next life as well", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, fabric } = yield* both()
      for (let life = 0; life < 3; life++) {
        const link = yield* a.store.open(pathOf("b"))
        fabric.strike({ _tag: "PortFlap", node: "a", forMillis: 100 })
        yield* Sim.eventually(() => !link.isOpen, "10 millis", "the link is closed")
        yield* Effect.sleep("1 second")
        const next = yield* a.store.open(pathOf("b"))
        yield* replug(fabric, "a")
        assert.isFalse(next.isOpen)
      }
    })
  )
})

describe("a card that does not come back", () => {
  // Also one that goes before anybody could see it.
  for (const wait of [0, 100, 2_000]) {
    it.sim(`is looked for a while, and not longer (${wait})`, { seeds: 10 }, () =>
      Effect.gen(function* () {
        yield* Faults.heal
        const fabric = yield* SimFabric.make()
        const provider = yield* Effect.provide(
          Effect.service(Verbs),
          SimVerbs.layer(fabric, { host: "a" })
        )
        let looks = 0
        const counting = Verbs.of({
          ...provider,
          open: (name, reach) => Effect.suspend(() => ((looks += 1), provider.open(name, reach)))
        })
        const nic = yield* Nic.open({
          path: "a@sim0",
          reopenEveryMs: 500,
          reopenWithinMs: 3_000
        }).pipe(Effect.provideService(Verbs, counting))
        const told = yield* Effect.forkChild(Stream.runCollect(Stream.take(nic.events, 1)))
        assert.strictEqual(looks, 1)
        yield* Effect.sleep(wait)
        fabric.strike({ _tag: "DeviceRemoval", node: "a", forMillis: 2 * hour })
        if (wait > 0) {
          assert.deepStrictEqual(yield* Fiber.join(told), [{ _tag: "DeviceRemoved" }])
          yield* Effect.sleep("1.2 seconds")
          assert.strictEqual(looks, 3)
        }
        yield* Effect.sleep(hour)
        assert.strictEqual(looks, 7)
        assert.strictEqual((yield* Effect.flip(nic.place))._tag, "Released")
      })
    )
  }
})

/** A host with all that transfers need. */
const host = Effect.fnUntraced(function* (
  fabric: SimFabric,
  network: SimHandshakes,
  name: string,
  engines: Map<string, TransferEngine["Service"]>,
  acknowledges: boolean
) {
  const verbs = Effect.map(Effect.service(Verbs), (provider) => ({
    ...provider,
    capabilities: { ...provider.capabilities, acknowledges }
  }))
  const layer = TransferEngine.layer({ unreachableAfterMs: 5_000 }).pipe(
    Layer.provideMerge(Endpoints.layer()),
    Layer.provideMerge(Nics.layer([{ path: pathOf(name) }])),
    Layer.provide(Layer.effect(Verbs, verbs)),
    Layer.provide(onHost(fabric, network, name)),
    Layer.provide(
      Layer.succeed(Directory, {
        resolve: (peer) => Effect.suspend(() => engines.get(peer)!.description)
      })
    )
  )
  const context = yield* Layer.build(layer)
  for (const [path, store] of Context.get(context, Endpoints)) yield* network.serve(path, store)
  const engine = Context.get(context, TransferEngine)
  engines.set(name, engine)
  return { engine, links: Context.get(context, Links), nics: Context.get(context, Nics) }
})

for (const acknowledges of [true, false]) {
  const kind = acknowledges ? "tells" : "does not tell"

  describe(`R21 an engine whose card ${kind} whether writes have arrived`, () => {
    const pair = Effect.gen(function* () {
      yield* Faults.heal
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const engines = new Map<string, TransferEngine["Service"]>()
      const a = yield* host(fabric, network, "a", engines, acknowledges)
      const b = yield* host(fabric, network, "b", engines, acknowledges)
      return { fabric, a, b }
    })

    for (const node of ["a", "b"]) {
      it.sim(`moves memory again both ways when the card of ${node} is back`, { seeds: 5 }, () =>
        Effect.gen(function* () {
          const { a, b, fabric } = yield* pair
          const own = yield* shared(a.engine, "own", 4_096, 1)
          const kept = yield* shared(b.engine, "kept", 4_096)
          const there = { buffer: "kept" }
          const before = yield* (node === "a" ? a : b).engine.description
          for (let life = 0; life < 3; life++) {
            yield* a.engine.write({ peer: "b", from: own.slice(), to: there })
            assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
            kept.bytes.fill(life + 10)
            yield* a.engine.read({ peer: "b", from: there, to: own.slice() })
            yield* b.engine.write({ peer: "a", from: kept.slice(), to: { buffer: "own" } })
            assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
            own.bytes.fill(life + 100)
            yield* replug(fabric, node)
          }
          const after = yield* (node === "a" ? a : b).engine.description
          assert.notDeepEqual(after.buffers[0]!.keys, before.buffers[0]!.keys)
          assert.strictEqual(fabric.counters.earlyPosts, 0)
        })
      )
    }

    it.sim("registers nothing again that was released meanwhile", { seeds: 3 }, () =>
      Effect.gen(function* () {
        const { a, fabric } = yield* pair
        const regions = fabric.resources("a").regions
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* shared(a.engine, "short", 64)
            fabric.strike({ _tag: "DeviceRemoval", node: "a", forMillis: 5_000 })
            yield* Effect.sleep("1 second")
          })
        )
        yield* Effect.sleep("6 seconds")
        assert.strictEqual(fabric.resources("a").regions, regions)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* shared(a.engine, "long", 64)
            yield* replug(fabric, "a")
            assert.strictEqual(fabric.resources("a").regions, regions + 1)
          })
        )
        assert.strictEqual(fabric.resources("a").regions, regions)
      })
    )

    it.sim("R22 tells peers where its card is now", { seeds: 3 }, () =>
      Effect.gen(function* () {
        const { a, fabric } = yield* pair
        const [nic] = a.nics
        yield* Effect.sleep(10)
        const gids = new Set<unknown>()
        for (const again of [false, true]) {
          fabric.strike({ _tag: "GidChange", node: "a" })
          yield* Effect.sleep(10)
          const { nics } = yield* a.engine.description
          assert.strictEqual(nics[0]!.gid, (yield* nic!.place).gid)
          gids.add(nics[0]!.gid)
          if (!again) yield* replug(fabric, "a")
        }
        assert.strictEqual(gids.size, 2)
      })
    )

    it.sim("is told of links that the peer opens to the card after it is back", { seeds: 3 }, () =>
      Effect.gen(function* () {
        const { a, b, fabric } = yield* pair
        const heard: Array<string> = []
        yield* a.links.listen(({ peer }) => void heard.push(peer))
        yield* replug(fabric, "a")
        yield* b.links.open(b.nics[0]!, pathOf("a"))
        yield* Effect.sleep("100 millis")
        assert.deepStrictEqual(heard, [pathOf("b")])
      })
    )
  })
}
