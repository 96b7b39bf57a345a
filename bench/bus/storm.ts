/** Two hundred members that reconnect at once over mutual TLS, both ways. */
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { BusNode } from "../../src/actors/bus/BusNode.ts"
import { IoPool } from "../../src/native/io/IoPool.ts"
import { storm } from "../../test/actors/bus/storm.ts"
import { tlsOf } from "../../test/native/io/harness.ts"
import type { Outcome } from "../harness.ts"

const peers = 200

const settings = {
  tls: { ...tlsOf("server"), verify: "chain" },
  admit: "anyone",
  nodeTimeoutMs: 15_000
} as const

/** The longest wait of the event loop but for one in a hundred, and the time until all are back. */
export const reconnect = (): Promise<Record<string, Outcome>> =>
  Effect.gen(function* () {
    const bus = yield* BusNode
    const { reconnect } = yield* storm(Number(bus.address.split(":")[1]), peers)
    const before = process.threadCpuUsage()
    const { dials } = (yield* bus.health).counts
    const delay = monitorEventLoopDelay({ resolution: 1 })
    const startedAt = performance.now()
    delay.enable()
    const lost = yield* reconnect
    delay.disable()
    const seconds = (performance.now() - startedAt) / 1_000
    const { system, user } = process.threadCpuUsage(before)
    const { connected, counts } = yield* bus.health
    // A second try of either side is a link that was not taken at first.
    const tries = counts.dials - dials + connected + lost
    const one = (value: number, unit: string) => ({
      value,
      unit,
      completed: tries,
      expected: 2 * peers
    })
    return {
      "delay-storm": one(delay.percentile(99) / 1e6, "ms of event-loop delay, p99"),
      "up-storm": one(seconds, "s until all are back"),
      "cpu-storm": one((user + system) / (2 * peers), "us of main thread per handshake")
    }
  }).pipe(
    Effect.provide(Layer.provide(BusNode.layerEphemeral(settings), IoPool.layer({ workers: 1 }))),
    Effect.scoped,
    Effect.runPromise
  )
