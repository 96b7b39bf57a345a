/**
 * Goal: the engine moves memory over real sockets as it does over a simulated fabric.
 * Method: two engines over the software iWARP provider of this machine, some MiB in both
 * directions, byte by byte.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { makeProvider } from "../../../src/native/iwarp/device.ts"
import { poolOf } from "../../../src/native/iwarp/settings.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { host, network, pattern, shared, withoutRights } from "./harness.ts"

const mega = 1 << 20

/** Two engines over the provider, with its sockets in a thread. */
const pairOver = Effect.fnUntraced(function* (on: "main" | "worker") {
  const pool = IoPool.layer(poolOf({ workers: on === "main" ? 0 : 1 }))
  const verbs = Layer.effect(Verbs, makeProvider({ on })).pipe(Layer.provide(pool))
  const provider = Context.get(yield* Layer.build(verbs), Verbs)
  const [device] = yield* provider.devices
  const net = yield* network()
  const each = (name: string) =>
    host(net, name, Layer.succeed(Verbs, provider), { devices: [device!.name] })
  return { net, a: yield* each("a"), b: yield* each("b") }
})

const equal = (one: Uint8Array, other: Uint8Array) =>
  Buffer.compare(
    Buffer.from(one.buffer, one.byteOffset, one.length),
    Buffer.from(other.buffer, other.byteOffset, other.length)
  ) === 0

describe.each(["main", "worker"] as const)("over sockets in the %s thread", (on) => {
  it.live(
    "moves some MiB in both directions",
    () =>
      Effect.gen(function* () {
        const { a, b } = yield* pairOver(on)
        const own = yield* shared(a, "own", 16 * mega, 1)
        const kept = yield* shared(b, "kept", 16 * mega, 2)
        const half = 8 * mega
        const { moved } = yield* a.transfer({
          peer: "b",
          ops: [
            { op: "write", from: own.slice(0, half), to: { buffer: "kept" } },
            { op: "read", from: { buffer: "kept", offset: half }, to: own.slice(half) }
          ]
        })
        assert.strictEqual(moved, 16 * mega)
        // What is said to have moved is there now, not soon.
        const [mine, its] = [pattern(16 * mega, 1), pattern(16 * mega, 2)]
        assert.isTrue(equal(kept.bytes.subarray(0, half), mine.subarray(0, half)))
        assert.isTrue(equal(own.bytes.subarray(half), its.subarray(half)))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "R16: what it says to have moved is there, also if the connection ends",
    () =>
      Effect.gen(function* () {
        const { a, b, net } = yield* pairOver(on)
        const own = yield* shared(a, "own", 4 * mega)
        const kept = yield* shared(b, "kept", 4 * mega)
        for (let turn = 1; turn <= 20; turn++) {
          own.bytes.fill(turn)
          const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
          const fiber = yield* Effect.forkChild(write, { startImmediately: true })
          yield* Effect.sleep(turn % 8)
          for (const link of net.links) net.retire(link, "cut")
          yield* Fiber.join(fiber)
          assert.isTrue(equal(kept.bytes, own.bytes))
        }
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "R33: asks a peer that registered its memory anew for its keys",
    () =>
      Effect.gen(function* () {
        const { a, b, net } = yield* pairOver(on)
        const own = yield* shared(a, "own", mega, 1)
        const before = yield* Scope.make()
        yield* Scope.provide(shared(b, "kept", mega), before)
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        yield* write
        yield* Scope.close(before, Exit.void)
        const kept = yield* shared(b, "kept", mega)
        yield* write
        assert.isTrue(equal(kept.bytes, own.bytes))
        assert.strictEqual(net.lookups, 2)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "R31: a write that the peer's memory is not for is refused, and costs one connection",
    () =>
      Effect.gen(function* () {
        const { a, b, net } = yield* pairOver(on)
        const own = yield* shared(a, "own", mega, 1)
        yield* b.register({ name: "ro", memory: mega, access: ["remote-read"] })
        const { buffers, nics } = yield* b.description
        net.said.set("b", { nics, buffers: buffers.map(withoutRights) })
        const read = a.read({ peer: "b", from: { buffer: "ro" }, to: own.slice() })
        yield* read
        const before = net.attempts
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "ro" } })
        const error = yield* Effect.flip(write)
        assert.deepInclude(error, { _tag: "TransferFailed", reason: "refused" })
        // The key is tried once more, as the peer describes it then.
        yield* read
        assert.isAtMost(net.attempts - before, 2)
      }).pipe(Effect.scoped),
    60_000
  )
})
