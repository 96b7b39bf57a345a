/**
 * Goal: each fault of a simulated fabric does what it says, for as long as it says, and is seen by
 * whom it concerns; what the fabric counts is what happened.
 * Method: two hosts under a few seeds each, with virtual time; each fault by itself.
 */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { FabricFault } from "../../../src/native/sim/FabricFault.ts"
import { SimQueuePair } from "../../../src/native/sim/queuePair.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import type { DeviceEvent } from "../../../src/native/verbs/Device.ts"
import { timeoutMs } from "../../../src/native/verbs/QueuePairState.ts"
import * as Sim from "../../../src/testing/Sim.ts"
import { failureOf } from "../../../src/testing/internal/contracts/contract.ts"
import { Pair } from "../../../src/testing/internal/contracts/verbs/pair.ts"
import {
  apart,
  completions,
  connected,
  type End,
  end,
  ended,
  post,
  receive,
  silent,
  toReady,
  work
} from "../../../src/testing/internal/contracts/verbs/rig.ts"
import { it } from "../../../src/testing/vitest.ts"
import { onFabric } from "./harness.ts"

const seeds = { seeds: 10 }
/** For what is timed to the millisecond. */
const exact = { seeds: 10, timerSlack: 0 }

/** The milliseconds that something takes. */
const timed = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const start = yield* Clock.currentTimeMillis
    yield* effect
    return (yield* Clock.currentTimeMillis) - start
  })

/** Reads the next events of a device from here on, so many. */
const eventsOf = Effect.fnUntraced(function* (own: End, count: number) {
  const reading = yield* Effect.forkChild(Stream.runCollect(Stream.take(own.device.events, count)))
  yield* Effect.sleep(1)
  return { read: Fiber.join(reading) }
})

const tags = (events: ReadonlyArray<DeviceEvent>) => events.map(({ _tag }) => _tag)

/** Connects two ends out of band. */
const outOfBand = Effect.fnUntraced(function* (sending: Parameters<typeof toReady>[2] = {}) {
  const { a, b } = yield* apart({})
  yield* Effect.all([toReady(a, b, sending), toReady(b, a, sending)])
  return { a, b }
})

/** Sends one message, and demands that it arrives. */
const message = Effect.fnUntraced(function* (from: End, to: End, id: number, length = 8) {
  yield* receive(to, id, 0, 8192)
  yield* post(from, work(from, { id, length }))
  yield* ended(to, { id, status: "success", length })
  yield* ended(from, { id, status: "success" })
})

describe("a simulated fabric", () => {
  it.sim(
    "counts messages to a peer that is not ready yet",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { a, b } = yield* apart({})
        yield* receive(b, 1)
        yield* receive(b, 2)
        yield* toReady(a, b)
        for (const id of [1, 2]) yield* post(a, work(a, { id, length: 8 }))
        yield* Effect.sleep(200)
        assert.strictEqual(fabric.counters.earlyPosts, 2)
        yield* toReady(b, a)
        yield* completions(b, 2)
        assert.strictEqual(fabric.counters.earlyPosts, 2)
        assert.isAbove(fabric.counters.repeats, 0)
      })
    )
  )

  it.sim(
    "does not wait for a peer that never gets ready",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { a, b } = yield* apart({})
        yield* toReady(a, b, { retries: 3, timeout: 12 })
        yield* post(a, work(a, { id: 1, length: 8 }))
        yield* post(a, work(a, { id: 2, length: 8 }))
        const millis = yield* timed(ended(a, { id: 1, status: "retry-exceeded" }))
        const whole = 4 * timeoutMs(12)
        assert.isTrue(millis >= Math.floor(whole) && millis <= whole + 2, `${millis}`)
        yield* ended(a, { id: 2, status: "flushed" })
        assert.strictEqual(fabric.counters.earlyPosts, 2)
      })
    )
  )

  it.sim(
    "hears only the peer that it was connected to",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { a, b } = yield* outOfBand()
        const { active } = yield* Pair
        const stranger = yield* end(active)
        yield* receive(b, 1)
        yield* toReady(stranger, b, { retries: 0, timeout: 10 })
        yield* post(stranger, work(stranger, { id: 1, length: 8 }))
        yield* ended(stranger, { id: 1, status: "retry-exceeded" })
        yield* silent(b)
        assert.strictEqual(fabric.counters.strays, 1)
        yield* post(a, work(a, { id: 2, length: 8 }))
        yield* ended(b, { id: 1, status: "success" })
      })
    )
  )

  it.sim(
    "drops what begins at another number than agreed",
    seeds,
    onFabric(() =>
      Effect.gen(function* () {
        const { a, b } = yield* apart({})
        yield* receive(b, 1)
        yield* toReady(a, b, { firstSequence: 5, retries: 1, timeout: 10 })
        yield* toReady(b, a)
        yield* post(a, work(a, { id: 1, length: 8 }))
        yield* ended(a, { id: 1, status: "retry-exceeded" })
        yield* silent(b)
      })
    )
  )

  it.sim(
    "numbers messages beyond the last number",
    seeds,
    onFabric(() =>
      Effect.gen(function* () {
        const { a, b } = yield* apart({})
        const path = { gid: a.port.gids[0]!.gid }
        const peer = a.queuePair.number
        yield* b.queuePair.modify({ to: "rtr", path, mtu: 4096, peer, peerSequence: 0xfffffe })
        yield* b.queuePair.modify({ to: "rts" })
        yield* toReady(a, b, { firstSequence: 0xfffffe })
        for (let id = 0; id < 5; id++) yield* message(a, b, id)
      })
    )
  )
})

/** A fault strikes while two ends are connected out of band. */
const struck = (
  fault: FabricFault,
  test: (both: { a: End; b: End }, fabric: SimFabric) => Effect.Effect<void, unknown, Pair>
) =>
  onFabric((fabric) =>
    Effect.gen(function* () {
      const both = yield* outOfBand({ retries: 2, timeout: 12 })
      yield* message(both.a, both.b, 100)
      fabric.strike(fault)
      yield* test(both, fabric)
    })
  )

describe("a fault of the fabric", () => {
  it.sim(
    "slows each step of a queue pair",
    exact,
    struck({ _tag: "SlowModify", node: "a", millis: 20, forMillis: 1000 }, ({ a, b }) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* timed(a.queuePair.modify({ to: "reset" })), 20)
        assert.strictEqual(yield* timed(a.queuePair.modify({ to: "init" })), 20)
        assert.strictEqual(yield* timed(b.queuePair.modify({ to: "reset" })), 0)
        yield* Effect.sleep(1000)
        assert.strictEqual(yield* timed(a.queuePair.modify({ to: "init" })), 0)
      })
    )
  )

  it.sim(
    "loses messages, which are sent again and arrive once",
    seeds,
    struck({ _tag: "Loss", from: "a", to: "b", share: 0.3, forMillis: 1e6 }, ({ a, b }, fabric) =>
      Effect.gen(function* () {
        a.queuePair.state satisfies string
        let count = 0
        for (; count < 30 && a.queuePair.state === "rts"; count++) {
          yield* receive(b, count)
          yield* post(a, work(a, { id: count, length: 8 }))
          yield* completions(a, 1)
        }
        assert.isAbove(fabric.counters.lost, 0)
        yield* Effect.sleep(1000)
        // All that ended well arrived, in order; the last one may have failed.
        const arrived = yield* completions(b, b.completions.reserved === 0 ? 0 : count - 1)
        assert.deepStrictEqual(
          arrived.map(({ id }) => id),
          Array.from({ length: arrived.length }, (_, id) => id)
        )
      })
    )
  )

  it.sim(
    "cuts one direction: answers that are lost make nothing happen twice",
    seeds,
    struck({ _tag: "Cut", from: "b", to: "a", forMillis: 20 }, ({ a, b }, fabric) =>
      Effect.gen(function* () {
        const word = new BigUint64Array(b.region.memory, b.region.offset, 1)
        word[0] = 0n
        yield* receive(b, 1, 1024, 64)
        yield* post(a, work(a, { id: 1, length: 8 }))
        const add = work(a, { id: 2, opcode: "fetch-add", value: 1n, length: 8, at: 64 })
        yield* post(a, add.remote(b.region.remoteKey, b.region.address))
        yield* ended(a, { id: 1, status: "success" })
        yield* ended(a, { id: 2, status: "success" })
        yield* ended(b, { id: 1, status: "success" })
        yield* silent(b)
        assert.strictEqual(word[0], 1n)
        assert.strictEqual(new BigUint64Array(a.region.memory, a.region.offset + 64, 1)[0], 0n)
        assert.isAbove(fabric.counters.repeats, 0)
      })
    )
  )

  it.sim(
    "cuts for longer than anybody retries",
    seeds,
    struck({ _tag: "Cut", from: "a/sim0", to: "b", forMillis: 1e6 }, ({ a, b }) =>
      Effect.gen(function* () {
        yield* post(a, work(a, { id: 1, length: 8 }))
        const millis = yield* timed(ended(a, { id: 1, status: "retry-exceeded" }))
        assert.isAtLeast(millis, Math.floor(3 * timeoutMs(12)))
        assert.strictEqual(b.queuePair.state, "rts")
      })
    )
  )

  it.sim(
    "delays messages",
    seeds,
    struck({ _tag: "Delay", from: "a", to: "b", millis: 10, forMillis: 1e6 }, ({ a, b }) =>
      Effect.gen(function* () {
        const millis = yield* timed(message(a, b, 1))
        assert.isTrue(millis >= 10 && millis <= 11, `${millis}`)
      })
    )
  )

  it.sim(
    "lets a node have no receives for a while",
    seeds,
    struck({ _tag: "Rnr", node: "b", forMillis: 10 }, ({ a, b }, fabric) =>
      Effect.gen(function* () {
        const millis = yield* timed(message(a, b, 1))
        assert.isTrue(millis >= 10 && millis <= 12, `${millis}`)
        assert.isAbove(fabric.counters.rnrs, 5)
      })
    )
  )

  it.sim(
    "exhausts the retries of one message",
    seeds,
    struck({ _tag: "RetryExhaustion", node: "a" }, ({ a }) =>
      Effect.gen(function* () {
        yield* receive(a, 3)
        for (const id of [1, 2]) yield* post(a, work(a, { id, length: 8 }))
        yield* ended(a, { id: 1, status: "retry-exceeded" })
        const rest = yield* completions(a, 2)
        assert.isTrue(rest.every(({ status }) => status === "flushed"))
      })
    )
  )

  it.sim(
    "fails a queue pair at a step, or while it runs",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        for (const step of ["init", "rtr", "rts"] as const) {
          const { a, b } = yield* apart({})
          yield* a.queuePair.modify({ to: "reset" })
          fabric.strike({ _tag: "QueuePairError", node: "a", step })
          const walk = Effect.andThen(a.queuePair.modify({ to: "init" }), toReady(a, b))
          const error = yield* Effect.flip(walk)
          assert.strictEqual(error._tag === "ModifyFailed" && error.to, step)
          assert.strictEqual(a.queuePair.state, "err")
        }
        const { a } = yield* outOfBand()
        const events = yield* eventsOf(a, 1)
        yield* receive(a, 1)
        fabric.strike({ _tag: "QueuePairError", node: "a", step: "running" })
        yield* ended(a, { id: 1, status: "flushed" })
        assert.deepStrictEqual(tags(yield* events.read), ["QueuePairFatal"])
      })
    )
  )

  it.sim(
    "takes a port down and up again",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { a, b } = yield* outOfBand()
        const events = yield* eventsOf(a, 2)
        fabric.strike({ _tag: "PortFlap", node: "a", forMillis: 100 })
        assert.strictEqual((yield* a.device.port()).state, "down")
        assert.strictEqual((yield* b.device.port()).state, "active")
        const millis = yield* timed(message(b, a, 1))
        assert.isAtLeast(millis, 100)
        assert.deepStrictEqual(tags(yield* events.read), ["PortDown", "PortUp"])
        assert.strictEqual((yield* a.device.port()).state, "active")
      })
    )
  )

  it.sim(
    "loses what is on its way to a GID that changes",
    seeds,
    struck({ _tag: "Delay", from: "a", to: "b", millis: 50, forMillis: 1 }, ({ a, b }, fabric) =>
      Effect.gen(function* () {
        yield* receive(b, 1)
        yield* post(a, work(a, { id: 1, length: 8 }))
        yield* Effect.sleep(1)
        fabric.strike({ _tag: "GidChange", node: "b" })
        yield* ended(a, { id: 1, status: "retry-exceeded" })
        yield* silent(b)
      })
    )
  )

  it.sim(
    "changes a GID: what was connected by it is cut off",
    seeds,
    struck({ _tag: "GidChange", node: "b" }, ({ a, b }) =>
      Effect.gen(function* () {
        const before = b.port.gids[0]!.gid
        const port = yield* b.device.port()
        assert.notStrictEqual(port.gids[0]!.gid, before)
        for (const own of [a, b]) {
          yield* post(own, work(own, { id: 1, length: 8 }))
          yield* ended(own, { id: 1, status: "retry-exceeded" })
        }
      })
    )
  )

  it.sim(
    "refuses one GID of a port, for a while, and works by another",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const two = SimVerbs.layer(fabric, { host: "c", gids: 2 })
        const provider = yield* Effect.provide(Effect.service(Verbs), two)
        const [refused, c, late] = [
          yield* end(provider),
          yield* end(provider),
          yield* end(provider)
        ]
        const b = yield* end((yield* Pair).passive)
        const { gids, lid } = b.port
        const step = { to: "rtr", mtu: 1024, peer: b.queuePair.number } as const
        const by = (own: End, gidIndex: number) =>
          own.queuePair.modify({ ...step, path: { gid: gids[0]!.gid, lid, gidIndex } })
        fabric.strike({ _tag: "GidRefusal", node: "c", index: 0, forMillis: 1000 })
        assert.strictEqual(yield* failureOf(by(refused, 0)), "ModifyFailed")
        assert.strictEqual(refused.queuePair.state, "err")
        yield* by(c, 1)
        yield* c.queuePair.modify({ to: "rts" })
        yield* toReady(b, { ...c, port: { ...c.port, gids: c.port.gids.slice(1) } })
        yield* message(b, c, 1)
        yield* message(c, b, 2)
        yield* Effect.sleep(1000)
        yield* by(late, 0)
      })
    )
  )

  it.sim(
    "pulls a device out, and plugs it in again",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { active } = yield* Pair
        const { a, ab, b, ba } = yield* connected()
        const events = yield* eventsOf(a, 1)
        for (const own of [a, b]) yield* receive(own, 1)
        fabric.strike({ _tag: "DeviceRemoval", node: "a", forMillis: 50 })
        yield* ended(a, { id: 1, status: "flushed" })
        assert.strictEqual(yield* ab.disconnected, "device-removed")
        assert.deepStrictEqual(tags(yield* events.read), ["DeviceRemoved"])
        const failures = [
          failureOf(a.device.port()),
          failureOf(Effect.scoped(a.device.completionQueue())),
          failureOf(Effect.scoped(a.domain.register({ memory: 8 }))),
          failureOf(a.queuePair.modify({ to: "reset" })),
          failureOf(Effect.scoped(a.device.listen())),
          failureOf(Effect.scoped(active.open()))
        ]
        const expected = [...Array.from({ length: 5 }, () => "Released"), "DeviceNotFound"]
        assert.deepStrictEqual(yield* Effect.all(failures), expected)
        yield* post(b, work(b, { id: 2, length: 8, signalled: false }))
        const ends = yield* completions(b, 2)
        assert.isTrue(ends.every(({ status }) => status !== "success"))
        yield* ba.disconnected
        yield* Effect.sleep(1000)
        const again = yield* end(active)
        assert.strictEqual((yield* again.device.port()).state, "active")
        assert.strictEqual(yield* failureOf(a.queuePair.modify({ to: "reset" })), "Released")
      })
    )
  )

  it.sim(
    "lets a port take small packets only",
    seeds,
    struck({ _tag: "MtuMismatch", node: "b", mtu: 1024, forMillis: 1e6 }, ({ a, b }) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* b.device.port()).activeMtu, 1024)
        yield* message(a, b, 1, 1024)
        yield* receive(b, 2, 0, 4096)
        yield* post(a, work(a, { id: 2, length: 1025 }))
        yield* ended(a, { id: 2, status: "retry-exceeded" })
        yield* silent(b)
      })
    )
  )

  it.sim(
    "is over when all is healed",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const forMillis = 1e9
        const faults: ReadonlyArray<FabricFault> = [
          { _tag: "SlowModify", node: "a", millis: 1000, forMillis },
          { _tag: "Loss", from: "a", to: "b", share: 1, forMillis },
          { _tag: "Cut", from: "b", to: "a", forMillis },
          { _tag: "Delay", from: "a", to: "b", millis: 1000, forMillis },
          { _tag: "Rnr", node: "b", forMillis },
          { _tag: "RetryExhaustion", node: "b" },
          { _tag: "QueuePairError", node: "a", step: "rts" },
          { _tag: "PortFlap", node: "b", forMillis },
          { _tag: "GidRefusal", node: "a", index: 0, forMillis },
          { _tag: "DeviceRemoval", node: "a", forMillis },
          { _tag: "MtuMismatch", node: "b", mtu: 256, forMillis }
        ]
        for (const fault of faults) fabric.strike(fault)
        fabric.heal()
        const { a, b } = yield* outOfBand()
        const millis = yield* timed(message(a, b, 1, 4096))
        assert.isAtMost(millis, 1)
      })
    )
  )
})

describe("two sizes of packets", () => {
  it.sim(
    "a receiver that expects larger ones refuses",
    seeds,
    onFabric(() =>
      Effect.gen(function* () {
        const { a, b } = yield* apart({})
        yield* toReady(b, a)
        const path = { gid: b.port.gids[0]!.gid }
        yield* a.queuePair.modify({ to: "rtr", path, mtu: 1024, peer: b.queuePair.number })
        yield* a.queuePair.modify({ to: "rts" })
        yield* message(a, b, 1, 1024)
        yield* receive(b, 2, 0, 4096)
        yield* post(a, work(a, { id: 2, length: 1025 }))
        yield* ended(a, { id: 2, status: "remote-invalid" })
        yield* ended(b, { id: 2, status: "flushed" })
      })
    )
  )
})

describe("the counters of a fabric", () => {
  it.sim(
    "tell keys that name nothing from keys that do not allow it",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        for (const [key, counted] of [
          ["unknown", "1 0"],
          ["forbidden", "1 1"]
        ] as const) {
          const { a, b } = yield* connected()
          const closed = yield* b.domain.register({ memory: 8 })
          const remoteKey = key === "unknown" ? closed.remoteKey ^ 1 : closed.remoteKey
          const write = work(a, { id: 1, opcode: "write", length: 8 })
          yield* post(a, write.remote(remoteKey >>> 0, closed.address))
          yield* ended(a, { id: 1, status: "remote-access" })
          const { refusals, unknownKeys } = fabric.counters
          assert.strictEqual(`${unknownKeys} ${refusals}`, counted)
        }
      })
    )
  )

  it.sim(
    "see an end of work that had ended",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { a, b } = yield* connected()
        yield* receive(b, 1)
        yield* post(a, work(a, { id: 1, length: 8 }))
        yield* ended(a, { id: 1, status: "success" })
        assert.instanceOf(a.queuePair, SimQueuePair)
        a.queuePair.sends.end("success", 0)
        assert.strictEqual(fabric.counters.doubleCompletions, 1)
      })
    )
  )
})

describe("a host of the fabric", () => {
  it.sim("S7: loses what its process made when the process is crashed", seeds, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const makes = Effect.andThen(Effect.flatMap(Verbs, end), Effect.never)
      const [a] = yield* Effect.forEach(["a", "b"], (host) =>
        Sim.process(host, Effect.provide(makes, SimVerbs.layer(fabric, { host })))
      )
      yield* Effect.sleep("1 second")
      assert.strictEqual(fabric.resources("a").queuePairs, 1)
      yield* a!.crash
      assert.strictEqual(fabric.resources("a").queuePairs, 0)
      assert.strictEqual(fabric.resources("b").queuePairs, 1)
    })
  )

  it.sim(
    "reaches by one device what it does not reach by another",
    seeds,
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const provider = (host: string) =>
        Effect.provide(Verbs, SimVerbs.layer(fabric, { host, devices: ["n0", "n1"] }))
      fabric.strike({ _tag: "Cut", from: "a/n0", to: "b/n1", forMillis: 1e6 })
      const [a, b] = [yield* provider("a"), yield* provider("b")]
      assert.deepStrictEqual(
        (yield* a.devices).map(({ name }) => name),
        ["n0", "n1"]
      )
      const open = (of: typeof a, name: string) => end({ ...of, open: () => of.open(name) }, {})
      for (const [from, to, status] of [
        ["n0", "n0", "success"],
        ["n0", "n1", "retry-exceeded"],
        ["n1", "n1", "success"]
      ] as const) {
        const [own, other] = [yield* open(a, from), yield* open(b, to)]
        yield* receive(other, 1)
        yield* Effect.all([toReady(own, other), toReady(other, own)])
        yield* post(own, work(own, { id: 1, length: 8 }))
        yield* ended(own, { id: 1, status }, `${from} to ${to}`)
      }
    })
  )

  it.sim(
    "that crashes leaves nothing behind, and its peers learn of it",
    seeds,
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { b, ba } = yield* connected()
        yield* receive(b, 1)
        fabric.crash("a")
        const none = Object.fromEntries(Object.keys(fabric.resources("a")).map((name) => [name, 0]))
        assert.deepStrictEqual({ ...fabric.resources("a") }, none)
        assert.strictEqual(yield* ba.disconnected, "peer-disconnected")
        yield* ended(b, { id: 1, status: "flushed" })
      })
    )
  )

  it.sim("has its ports free again wherever it crashes while it begins to listen", seeds, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      let lives = 0
      const listens = Effect.gen(function* () {
        const device = yield* (yield* Verbs).open()
        yield* device.listen({ port: 20_049 })
        lives++
        return yield* Effect.never
      })
      const listening = yield* Sim.process(
        "a",
        Effect.provide(listens, SimVerbs.layer(fabric, { host: "a" }))
      )
      for (let yields = 0; yields < 40; yields++) {
        yield* listening.restart
        yield* Effect.repeat(Effect.yieldNow, { times: yields })
      }
      const before = lives
      yield* listening.restart
      yield* Effect.sleep("1 second")
      assert.strictEqual(lives, before + 1)
    })
  )

  it.sim(
    "has its ports free again wherever listening is interrupted",
    { seeds: 60 },
    onFabric(() =>
      Effect.gen(function* () {
        const { b } = yield* apart({})
        for (let yields = 0; yields < 40; yields++) {
          const listening = yield* Effect.forkChild(
            Effect.scoped(Effect.andThen(b.device.listen({ port: 20_049 }), Effect.never))
          )
          yield* Effect.repeat(Effect.yieldNow, { times: yields })
          yield* Fiber.interrupt(listening)
        }
        yield* b.device.listen({ port: 20_049 })
      })
    )
  )

  it.sim(
    "ends a listener wherever its device is removed while listening begins",
    { seeds: 60 },
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { passive: b } = yield* Pair
        for (let yields = 0; yields < 20; yields++) {
          const device = yield* b.open()
          const taking = yield* Effect.forkChild(
            Effect.scoped(Effect.flatMap(device.listen({ port: 20_049 }), ({ take }) => take))
          )
          yield* Effect.repeat(Effect.yieldNow, { times: yields })
          fabric.strike({ _tag: "DeviceRemoval", node: "b", forMillis: 1 })
          const error = yield* Effect.flip(Effect.timeout(Fiber.join(taking), "1 second"))
          assert.deepInclude(error, { _tag: "Released", reason: "device-removed" })
          yield* Effect.sleep("2 millis")
        }
      })
    )
  )

  it.sim(
    "uses ports again when it has been through all of them",
    { seeds: 1 },
    onFabric((fabric) =>
      Effect.gen(function* () {
        const { b } = yield* apart({})
        const { address } = yield* b.device.listen()
        const [nic] = fabric.plug({ host: "b" })
        // So many assertions would cost more than the ports.
        const isFree = (port: number) => port > 1024 && port < 65_536 && port !== address.port
        const ports = Array.from({ length: 100_000 }, () => nic!.newPort())
        assert.deepStrictEqual(
          ports.filter((port) => !isFree(port)),
          []
        )
      })
    )
  )
})
