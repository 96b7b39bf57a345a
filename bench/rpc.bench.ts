/**
 * Remote procedure calls between two processes, against the exchange of messages that they are
 * built upon, and against another RPC.
 */
import type { Bench, Contestant } from "./harness.ts"
import * as calls from "./rpc/calls.ts"
import { byGrpc } from "./rpc/grpc.ts"

/** Credits of the curve. */
const curve = [1, 2, 4, 8, 16, 32, 64, 128]

const alone =
  (run: (inFlight: number) => ReturnType<Contestant>): Contestant =>
  async () => ({ ...(await run(1)), ...(await run(64)) })

const curved: Contestant = async () => {
  const all = []
  for (const inFlight of curve) all.push(await calls.byClient("main", inFlight))
  return Object.assign({}, ...all)
}

export default {
  title: "rpc: small calls, alone and 64 at once, and results of 1 MiB",
  notes: [
    "Two processes on one machine over software iWARP on loopback TCP without CRC, sockets on",
    "the main threads. Calls have 68 bytes and replies 52, as NULL has; those of `provider`,",
    "which only sends messages back, have 64. Each call of `rpc` is kept in the server's cache",
    "of replies. The curve of `rpc` is by calls in flight, on as many credits and one more for",
    "control."
  ].join(" "),
  timeout: 120,
  contestants: {
    rpc: async () => ({ ...(await curved()), ...(await calls.byChunks("main")) }),
    provider: alone((inFlight) => calls.byProvider("main", inFlight)),
    grpc: alone(byGrpc)
  },
  claims: [
    { pair: ["calls-64/rpc", "calls-64/provider"], bar: ">= 0.5" },
    { pair: ["calls-64/rpc", "calls-64/grpc"], bar: ">= 10" }
  ]
} satisfies Bench
