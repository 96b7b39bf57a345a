/**
 * Goal: the engine moves memory over real sockets as it does over a simulated fabric.
 * Method: two engines over the software iWARP provider of this machine, some MiB in both
 * directions, octet by octet.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { IoPool } from "../../src/native/IoPool.ts"
import { makeIwarp } from "../../src/native/iwarp/provider.ts"
import { poolOf } from "../../src/native/iwarp/settings.ts"
import { Verbs } from "../../src/native/Verbs.ts"
import { differsAt, host, network, pattern, shared } from "./lab.ts"

const mega = 1 << 20

describe.each(["main", "worker"] as const)("over sockets in the %s thread", (on) => {
  it.live(
    "moves some MiB in both directions",
    () =>
      Effect.gen(function* () {
        const pool = poolOf({ workers: on === "main" ? 0 : 1 })
        const verbs = Layer.effect(Verbs, makeIwarp({ on })).pipe(Layer.provide(IoPool.layer(pool)))
        const provider = Context.get(yield* Layer.build(verbs), Verbs)
        const [device] = yield* provider.devices
        const net = yield* network()
        const devices = [device!.name]
        const [a, b] = [
          yield* host(net, "a", Layer.succeed(Verbs, provider), { devices }),
          yield* host(net, "b", Layer.succeed(Verbs, provider), { devices })
        ]
        const own = yield* shared(a, "own", 16 * mega, 1)
        const kept = yield* shared(b, "kept", 16 * mega, 2)
        const half = 8 * mega
        const moved = yield* a.transfer({
          peer: "b",
          ops: [
            { op: "write", from: own.slice(0, half), to: { buffer: "kept" } },
            { op: "read", from: { buffer: "kept", offset: half }, to: own.slice(half) }
          ]
        })
        assert.strictEqual(moved.moved, 16 * mega)
        const back = yield* a.read({ peer: "b", from: { buffer: "kept" }, to: own.slice(0, half) })
        assert.strictEqual(back.moved, half)
        const [mine, its] = [pattern(16 * mega, 1), pattern(16 * mega, 2)]
        assert.strictEqual(differsAt(mine.subarray(0, half), kept.octets), -1)
        assert.strictEqual(differsAt(mine.subarray(0, half), own.octets), -1)
        assert.strictEqual(differsAt(its.subarray(half), own.octets.subarray(half)), -1)
      }).pipe(Effect.scoped),
    60_000
  )
})
