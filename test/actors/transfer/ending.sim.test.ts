/**
 * Goal: a transfer ends, whatever it waits for: also when its engine ends, its memory is released
 * or its directory is broken; and what can never be is refused at once.
 *
 * Method: two engines on a simulated fabric, whose directory is slow, silent or throws.
 */
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import type { Memory } from "../../../src/actors/rdma/Memory.ts"
import { InvalidTransfer, TransferFailed } from "../../../src/actors/transfer/TransferError.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, host, network, pair, pattern, shared, timed } from "./harness.ts"

const kilo = 1 << 10

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true })

/** The host `a`, which `end` ends, and `b`, whose memory is named `kept`. */
const scene = Effect.fnUntraced(function* (options: Parameters<typeof host>[3] = {}) {
  const fabric = yield* SimFabric.make()
  const net = yield* network()
  const scope = yield* Scope.make()
  const end = Scope.close(scope, Exit.void)
  const a = yield* Scope.provide(
    host(net, "a", SimVerbs.layer(fabric, { host: "a" }), options),
    scope
  )
  const b = yield* host(net, "b", SimVerbs.layer(fabric, { host: "b" }))
  const kept = yield* shared(b, "kept", kilo)
  return { net, a, b, end, kept }
})

const to = { buffer: "kept" }

const durable = (own: Memory, ops = [{ op: "write" as const, from: own.slice(), to }]) => ({
  durable: true as const,
  id: "t",
  peer: "b",
  ops
})

describe("when the engine ends", () => {
  it.sim("whatever waits for a peer that does not tell of itself ends, too", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, end, net } = yield* scene()
      const own = yield* shared(a, "own", kilo)
      net.answers = Effect.never
      const write = yield* fork(Effect.flip(a.write({ peer: "b", from: own.slice(), to })))
      const warm = yield* fork(Effect.flip(a.warm("b")))
      yield* Effect.sleep("1 second")
      yield* end
      assert.deepInclude(yield* Fiber.join(write), { reason: "closed", bytes: kilo })
      assert.deepInclude(yield* Fiber.join(warm), { reason: "closed" })
      assert.deepInclude(yield* Effect.flip(a.warm("c")), { reason: "closed" })
    })
  )

  it.sim("nothing begins that a peer tells of too late", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, end, net } = yield* scene()
      const own = yield* shared(a, "own", kilo)
      net.answers = Effect.sleep("2 seconds")
      const write = yield* fork(Effect.flip(a.write({ peer: "b", from: own.slice(), to })))
      yield* Effect.sleep("1 second")
      const { millis } = yield* timed(end)
      assert.strictEqual(millis, 0)
      yield* Effect.sleep("1 minute")
      assert.deepInclude(write.pollUnsafe(), { _tag: "Success" })
      assert.strictEqual(net.posts, 0)
    })
  )
})

describe("when memory is released", () => {
  it.sim("while the peer is asked for its own, a transfer ends", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, net } = yield* scene()
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(shared(a, "own", kilo), scope)
      net.answers = Effect.sleep("2 seconds")
      const write = yield* fork(Effect.flip(a.write({ peer: "b", from: own.slice(), to })))
      yield* Effect.sleep("1 second")
      yield* Scope.close(scope, Exit.void)
      const error = yield* Fiber.join(write)
      assert.deepInclude(error, { _tag: "TransferFailed", reason: "memory-released", bytes: kilo })
    })
  )

  const copied: Record<string, { parts: number; whole: number }> = {
    own: { parts: 0, whole: 0 },
    inbox: { parts: 0, whole: 0 }
  }
  for (const released of ["own", "inbox"]) {
    it.sim(`while ${released} is copied within the process, a transfer ends`, { seeds: 6 }, () =>
      Effect.gen(function* () {
        const { a } = yield* scene()
        const scope = yield* Scope.make()
        const bytes = 8 << 20
        const memory = (name: string) =>
          name === released ? Scope.provide(shared(a, name, bytes), scope) : shared(a, name, bytes)
        const own = yield* memory("own")
        yield* memory("inbox")
        const buffer = "inbox"
        yield* a.write({ peer: "a", from: own.slice(0, 1), to: { buffer } })
        const write = a.write({ peer: "a", from: own.slice(), to: { buffer } })
        const copying = yield* fork(Effect.exit(write))
        yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        const exit = yield* Fiber.join(copying)
        // Held for long enough, this fiber releases what has been copied.
        if (Exit.isSuccess(exit)) return void copied[released]!.whole++
        const error = Cause.squash(exit.cause)
        if (!(error instanceof TransferFailed)) return assert.instanceOf(error, InvalidTransfer)
        const { moved, reason } = error
        assert.strictEqual(reason, released === "own" ? "memory-released" : "no-such-memory")
        assert.isBelow(moved, bytes)
        copied[released]!.parts++
      })
    )
    it(`while ${released} is copied: most of these transfers were under way`, () =>
      assert.isAbove(copied[released]!.parts, copied[released]!.whole))
  }

  it.sim("while the peer is asked for its own, a durable transfer waits", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, kept, net } = yield* scene({ journal: makeMemory() })
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(shared(a, "own", kilo, 1), scope)
      net.answers = Effect.sleep("2 seconds")
      const transfer = yield* fork(a.transfer(durable(own)))
      yield* Effect.sleep("1 second")
      yield* Scope.close(scope, Exit.void)
      yield* Effect.sleep("1 minute")
      assert.isUndefined(transfer.pollUnsafe())
      yield* shared(a, "own", kilo, 2)
      assert.deepStrictEqual(yield* Fiber.join(transfer), { moved: kilo, bytes: kilo })
      assert.strictEqual(differsAt(pattern(kilo, 2), kept.bytes), -1)
    })
  )
})

describe("a request that can never be fulfilled", () => {
  it.sim("is refused at once, also if its peer is away", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* scene({ journal: makeMemory() })
      const own = yield* shared(a, "own", kilo)
      net.answers = Effect.never
      const pieces = [
        own.slice(0, 1.5),
        own.slice(0, Number.NaN),
        own.slice(1, kilo),
        own.slice(-1)
      ]
      for (const from of pieces) {
        const op = { op: "write" as const, from, to }
        const each = Effect.all([
          Effect.flip(a.write({ peer: "b", from, to })),
          Effect.flip(a.transfer(durable(own, [op])))
        ])
        const { millis, value } = yield* timed(each)
        assert.deepStrictEqual(
          value.map(({ _tag }) => _tag),
          ["InvalidTransfer", "InvalidTransfer"]
        )
        assert.strictEqual(millis, 0)
      }
      const unnamed = yield* Effect.flip(a.transfer({ ...durable(own), id: "" }))
      assert.strictEqual(unnamed._tag, "InvalidTransfer")
      const foreign = yield* shared(b, "foreign", kilo)
      const refused = yield* Effect.flip(a.write({ peer: "b", from: foreign.slice(), to }))
      assert.deepInclude(refused, { _tag: "InvalidTransfer", lacks: "local-memory" })
    })
  )
})

describe("a request without types", () => {
  it.sim("R28: is refused if its time is none, or its answer to a replacement", { seeds: 1 }, () =>
    Effect.gen(function* () {
      const { a, kept } = yield* scene()
      const own = yield* shared(a, "own", kilo, 1)
      const write = { peer: "b", from: own.slice(), to }
      const wrong = [
        ...[0, -5, Number.NaN, "soon" as "1 second", {} as "1 second"].map((within) => ({
          within
        })),
        { onReplaced: "whatever" as "fail" }
      ]
      for (const odd of wrong) {
        for (const error of [
          yield* Effect.flip(a.write({ ...write, ...odd })),
          yield* Effect.flip(a.read({ peer: "b", from: to, to: own.slice(), ...odd })),
          yield* Effect.flip(Effect.scoped(a.start({ peer: "b", ops: [], ...odd })))
        ]) {
          assert.strictEqual(error._tag, "InvalidTransfer", JSON.stringify(odd))
          assert.notInclude(error.message, "no operations")
        }
      }
      assert.isTrue(kept.bytes.every((byte) => byte === 0))
      for (const within of [1_000, "1 second", "Infinity", undefined] as const) {
        yield* a.write({ ...write, within, onReplaced: "fail" })
      }
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("a directory that throws", () => {
  it.sim("T7: is asked again for memory that a transfer lacks", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const wires = { depth: 2, queuePairs: 1 }
      const { a, b, net } = yield* pair({ settings: { sliceBytes: kilo }, wires })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const scope = yield* Scope.make()
      yield* Scope.provide(shared(b, "kept", 64 * kilo), scope)
      yield* a.warm("b")
      const write = yield* fork(a.write({ peer: "b", from: own.slice(), to }))
      yield* Scope.close(scope, Exit.void)
      yield* Effect.sleep("400 millis")
      net.answers = Effect.die("the directory is broken")
      yield* Effect.sleep("5 seconds")
      net.answers = Effect.void
      const kept = yield* shared(b, "kept", 64 * kilo)
      yield* Fiber.join(write)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("T7: is asked again for cards that a peer did not have", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, net } = yield* pair()
      net.said.set("b", { nics: [], buffers: [] })
      const warm = yield* fork(a.warm("b"))
      yield* Effect.sleep("400 millis")
      net.answers = Effect.die("the directory is broken")
      yield* Effect.sleep("5 seconds")
      net.answers = Effect.void
      net.said.delete("b")
      yield* Fiber.join(warm)
    })
  )

  it.sim("has not answered as far as a first transfer knows", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { a, net } = yield* scene()
      const own = yield* shared(a, "own", kilo)
      net.answers = Effect.die("the directory is broken")
      const error = yield* Effect.flip(a.write({ peer: "b", from: own.slice(), to }))
      assert.deepInclude(error, { _tag: "NoDescription", reason: "unanswered" })
      assert.include(error.message, "the directory is broken")
    })
  )
})
