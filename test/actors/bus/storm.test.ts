/**
 * Goal: many peers that reconnect at once, both ways over mutual TLS, are all back by one try each
 * (D23): none is closed for want of room, and none is dialled twice.
 * Method: scripted members in a process of their own cut all their links and dial at once. How long
 * that takes, and what the event loop waits for meanwhile, is measured by the bench.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { BusNode } from "../../../src/actors/bus/BusNode.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { tlsOf } from "../../native/io/harness.ts"
import { until } from "./servers.ts"
import { storm } from "./storm.ts"

const peers = 200
// Only a connection that hangs takes so long, on a machine as busy as one likes.
const pool = IoPool.layer({ workers: 1, openWithinMs: 120_000 })
const settings = {
  tls: { ...tlsOf("server"), verify: "chain" },
  admit: "anyone",
  // On a busy machine the peers take seconds for their half.
  nodeTimeoutMs: 60_000
} as const

describe("a storm of reconnects", () => {
  it.live(
    `of ${peers} peers over mutual TLS needs one try for each link`,
    () =>
      Effect.gen(function* () {
        const bus = yield* BusNode
        const { reconnect } = yield* storm(Number(bus.address.split(":")[1]), peers)
        const before = (yield* bus.health).counts
        assert.strictEqual(before.dials, peers)
        const lost = yield* reconnect
        // Workers have answered all peers; the main thread may have yet to read them.
        yield* until(Effect.map(bus.health, ({ connected }) => connected === peers))
        const { counts } = yield* bus.health
        assert.strictEqual(lost, 0)
        assert.strictEqual(counts.dials, 2 * peers)
        assert.strictEqual(counts.linksTimedOut, 0)
      }).pipe(Effect.scoped, Effect.provide(Layer.provide(BusNode.layerEphemeral(settings), pool))),
    240_000
  )
})
