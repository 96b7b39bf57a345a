/**
 * What lanes take from the main thread, against `node:net` and `node:tls` on the main thread.
 */
import type { Bench } from "./harness.ts"
import { byLanes, byNet, byTls, serverTls } from "./lanes/receive.ts"

/** Frames of one run: several hundred megabytes, so that a run takes a second or so. */
const frames = { 256: 4_000_000, 2048: 600_000, tls: 150_000 } as const

export default {
  title: "lanes: main-thread CPU per frame and per accept, hand-over, lone round trip",
  rounds: 5,
  timeout: 60,
  contestants: {
    "net-onread": async () => ({
      ...(await byNet("2k", 2048, frames[2048])),
      ...(await byNet("256", 256, frames[256]))
    }),
    pool: async () => ({
      ...(await byLanes("2k", 2048, frames[2048], { on: "worker" })),
      ...(await byLanes("256", 256, frames[256], { on: "worker" }))
    }),
    "node-tls": () => byTls("tls", 2048, frames.tls),
    "pool-tls": () => byLanes("tls", 2048, frames.tls, { on: "worker", tls: serverTls })
  },
  claims: [
    { pair: ["cpu-2k/pool", "cpu-2k/net-onread"], bar: "<= 0.3" },
    { pair: ["cpu-256/pool", "cpu-256/net-onread"], bar: "<= 0.7" },
    { pair: ["rate-2k/pool", "rate-2k/net-onread"], bar: ">= 0.85" },
    { pair: ["rate-256/pool", "rate-256/net-onread"], bar: ">= 0.85" },
    { pair: ["cpu-tls/pool-tls", "cpu-tls/node-tls"], bar: "<= 0.1" }
  ]
} satisfies Bench
