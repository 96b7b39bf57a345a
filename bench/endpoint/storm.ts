/**
 * Many peers shake hands at once with one host, whose endpoints are real and whose queue pairs are
 * simulated; in turns with and without a client that is silent and one that drips bytes.
 */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EndpointStore from "../../src/actors/endpoint/EndpointStore.ts"
import { Handshakes } from "../../src/actors/endpoint/Handshake.ts"
import * as HandshakeServer from "../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import * as Nic from "../../src/actors/rdma/Nic.ts"
import * as TcpHandshakes from "../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { IoPool } from "../../src/native/io/IoPool.ts"
import { SimFabric } from "../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../src/native/sim/SimVerbs.ts"
import type { Epoch } from "../../src/schema/Epoch.ts"
import { half } from "./handshake.ts"
import type { Outcome } from "../harness.ts"
import { median } from "../statistics.ts"

const sizes = [240, 1_000]
const rounds = 5
const within = 60_000

const shake = (to: string, index: number, epoch: Epoch) =>
  Effect.gen(function* () {
    const { acknowledge, offer } = yield* Handshakes
    const since = performance.now()
    const own = { ...half, epoch }
    const from = `10.0.0.1:${index}@peer`
    const answer = yield* offer({ from, to, half: own, knows: undefined, hasGate: true })
    yield* acknowledge({ from, to, half: own, knows: answer.half.epoch })
    return performance.now() - since
  })

/** Clients that the others must not notice; they go when the storm is over. */
const disturb = (port: number): (() => void) => {
  const [silent, dripping] = [1, 2].map(() =>
    net.connect({ port, host: "127.0.0.1" }).on("error", () => {})
  )
  const drip = setInterval(() => dripping!.write(Uint8Array.of(1)), 200)
  return () => {
    clearInterval(drip)
    silent!.destroy()
    dripping!.destroy()
  }
}

/** The 99th percentile of all waits of a storm, its median over some storms. */
export const storms = (): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const server = yield* HandshakeServer.make({
        host: "127.0.0.1",
        port: 0,
        exchangeWithinMs: within
      })
      const nic = yield* Nic.open({ path: `127.0.0.1:${server.port}@nic0` }).pipe(
        Effect.provide(SimVerbs.layer(fabric))
      )
      const store = yield* EndpointStore.make({ nic }).pipe(Effect.provide(Journal.layerMemory))
      yield* server.serve(nic.path, store)
      const outcomes: Record<string, Outcome> = {}
      for (const peers of sizes) {
        const slowest = { quiet: new Array<number>(), disturbed: new Array<number>() }
        for (let round = -2; round < 2 * rounds; round++) {
          const kind = round % 2 === 0 ? "quiet" : "disturbed"
          const settle = kind === "quiet" ? () => {} : disturb(server.port)
          // All peers have begun anew.
          const epoch = `${(peers * 100 + round + 2).toString(16).padStart(8, "0")}.1` as Epoch
          const times = yield* Effect.all(
            Array.from({ length: peers }, (_, index) => shake(nic.path, index, epoch)),
            { concurrency: "unbounded" }
          )
          const p99 = times.toSorted((a, b) => a - b)[Math.floor(peers * 0.99)]!
          settle()
          if (round >= 0) slowest[kind].push(p99)
        }
        for (const [kind, values] of Object.entries(slowest)) {
          const counted = { completed: values.length, expected: rounds }
          outcomes[`p99-${peers}-${kind}`] = { value: median(values), unit: "ms", ...counted }
        }
      }
      return outcomes
    }).pipe(
      Effect.scoped,
      Effect.provide(
        TcpHandshakes.layer({
          answerWithinMs: within,
          connectWithinMs: within,
          // One process stands for all peers.
          callsPerServer: Math.max(...sizes)
        }).pipe(Layer.provideMerge(IoPool.layer({ workers: 0 })))
      )
    )
  )
