/**
 * Remote procedure calls between two processes, against the exchange of messages that they are
 * built upon, and against other RPCs.
 */
import type { Bench, Contestant } from "./harness.ts"
import * as calls from "./rpc/calls.ts"

/** Calls in flight of the curve. */
const curve = [1, 2, 4, 8, 16, 32, 64, 128]

type Outcomes = Awaited<ReturnType<Contestant>>

/** Measures one after the other. */
const each =
  (...runs: ReadonlyArray<() => Promise<Outcomes>>): Contestant =>
  async () => {
    const all: Array<Outcomes> = []
    for (const run of runs) all.push(await run())
    return Object.assign({}, ...all) as Outcomes
  }

export default {
  title: "rpc: small calls, alone and 64 at once, and results of 1 MiB",
  notes: [
    "Two processes on one machine over loopback TCP, sockets on the main threads; software iWARP",
    "without CRC. Calls have 68 bytes and replies 52, as NULL has; messages of `provider`, which",
    "only sends them back, have 64. Callers are fibers, each with one call in flight; those of",
    "`grpc` are callbacks. Each call of `rpc` is kept in the server's cache of replies. The curve",
    "of `rpc` is by calls in flight, on as many credits and one more for control. `group` is an",
    "RpcGroup of effect/rpc by RPC-over-RDMA, `effect-rpc` the same one over its own socket, both",
    "by SchemaBinary. Results of 1 MiB are 8 at once. `recovered` is the time from a lost",
    "connection with 64 calls in flight to the first reply, and to the last one, with the pause of",
    "50 ms before a reconnect."
  ].join(" "),
  timeout: 120,
  contestants: {
    rpc: each(
      ...curve.map((inFlight) => () => calls.byClient("main", inFlight)),
      () => calls.byChunks("main"),
      () => calls.byReconnect("main")
    ),
    provider: each(
      () => calls.byProvider("main", 1),
      () => calls.byProvider("main", 64)
    ),
    grpc: async () => {
      const { bulkByGrpc, byGrpc } = await import("./rpc/grpc.ts")
      return each(
        () => byGrpc(1),
        () => byGrpc(64),
        bulkByGrpc
      )()
    },
    group: async () => {
      const { bulkByGroup, byGroup } = await import("./rpc/group.ts")
      return each(
        () => byGroup("rdma", 64),
        () => bulkByGroup("rdma")
      )()
    },
    "effect-rpc": async () => {
      const { bulkByGroup, byGroup } = await import("./rpc/group.ts")
      return each(
        () => byGroup("socket", 64),
        () => bulkByGroup("socket")
      )()
    }
  },
  claims: [
    { pair: ["calls-64/rpc", "calls-64/provider"], bar: ">= 0.5" },
    { pair: ["calls-64/rpc", "calls-64/grpc"], bar: ">= 10" },
    { pair: ["calls-64/group", "calls-64/effect-rpc"], bar: ">= 1" },
    { pair: ["bulk-1m/rpc", "bulk-1m/grpc"], bar: ">= 2" },
    { pair: ["bulk-1m/rpc", "bulk-1m/effect-rpc"], bar: ">= 2" }
  ]
} satisfies Bench
