/**
 * Connections that come and go: connect, a frame of 256 bytes there, one back, and close. Both ends
 * are on the main thread, and one connection follows the other.
 */
import * as net from "node:net"
import * as Effect from "effect/Effect"
import { IoPool } from "../../src/native/io/IoPool.ts"
import type { Outcome } from "../harness.ts"
import { framesOf } from "./frames.ts"
import { framer, portOf } from "./receive.ts"

const warmUp = 2_000
const count = 2_000

const frame = framesOf(256, 256)
const host = "127.0.0.1"

/** Measures the CPU of so many exchanges after the warm-up. */
const meter = () => {
  let seen = 0
  let cpu = process.threadCpuUsage()
  return {
    exchanged: (): boolean => {
      seen++
      if (seen === warmUp) cpu = process.threadCpuUsage()
      return seen < warmUp + count
    },
    outcome: (): Record<string, Outcome> => {
      const { system, user } = process.threadCpuUsage(cpu)
      const counted = { completed: seen, expected: warmUp + count }
      return { short: { value: (user + system) / count, unit: "µs of CPU", ...counted } }
    }
  }
}

/** `node:net`, both ends. */
export const shortByNet = () =>
  new Promise<Record<string, Outcome>>((resolve) => {
    const { exchanged, outcome } = meter()
    const server = net.createServer({ noDelay: true }, (socket) => {
      socket.on("data", (bytes) => socket.write(bytes))
      socket.on("close", () => (exchanged() ? exchange() : resolve(outcome())))
    })
    const exchange = (): void => {
      const socket = net.connect({ host, port: portOf(server), noDelay: true })
      socket.on("connect", () => socket.write(frame))
      socket.on("data", () => socket.end())
    }
    server.listen(0, host, exchange)
  })

/** Lanes on the main thread, both ends. */
export const shortByLanes = () =>
  Effect.gen(function* () {
    const { exchanged, outcome } = meter()
    const pool = yield* IoPool
    const listener = yield* pool.listen({ framer, on: "main", at: { host, port: 0 } })
    const ask = Effect.gen(function* () {
      const to = { host, port: listener.port }
      const lane = yield* pool.connect({ framer, on: "main", to })
      lane.send(frame)
      yield* lane.take
    })
    const answer = Effect.gen(function* () {
      const lane = yield* listener.accept
      for (const bytes of yield* lane.take) lane.send(bytes)
      yield* lane.closed
    })
    const exchange = Effect.all([Effect.scoped(ask), Effect.scoped(answer)], {
      concurrency: 2,
      discard: true
    })
    do yield* exchange
    while (exchanged())
    return outcome()
  }).pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 0 })), Effect.runPromise)
