/**
 * A storm of TLS connects with mutual authentication: main-thread CPU per accept, and how long
 * other work on the main thread's loop is kept waiting.
 */
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as tls from "node:tls"
import * as Effect from "effect/Effect"
import { IoPool } from "../../src/native/IoPool.ts"
import type { Outcome } from "../harness.ts"
import { certificates, framer, load, portOf, serverTls } from "./receive.ts"

const warmUp = 100
const count = 500

/** Counts accepts; measures the last `count` of them, which come all at once. */
const meter = () => {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let seen = 0
  let cpu = process.threadCpuUsage()
  let resolve: (outcome: Record<string, Outcome>) => void = () => {}
  const done = new Promise<Record<string, Outcome>>((settle) => (resolve = settle))
  const begin = (): void => {
    cpu = process.threadCpuUsage()
    delay.enable()
  }
  const accepted = (port: number): void => {
    seen++
    if (seen === warmUp) {
      // The storm starts when the warm-up has settled.
      setTimeout(() => {
        begin()
        load("storm", port, count, count, certificates.href)
      }, 200)
    }
    if (seen < warmUp + count) return
    const { system, user } = process.threadCpuUsage(cpu)
    // One turn more, so that the delay of this one is recorded.
    setTimeout(() => {
      delay.disable()
      const counted = { completed: seen, expected: warmUp + count }
      resolve({
        accept: { value: (user + system) / count, unit: "µs of main thread per accept", ...counted },
        delay: { value: delay.percentile(99) / 1e6, unit: "ms p99 of the event loop", ...counted }
      })
    }, 5)
  }
  const start = (port: number): void => load("storm", port, warmUp, 10, certificates.href)
  return { accepted, done, start }
}

export const acceptByTls = () => {
  const { accepted, done, start } = meter()
  const { ca, cert, key } = serverTls
  const options: tls.TlsOptions = { requestCert: true, rejectUnauthorized: true }
  const server = tls.createServer({ ...options, ...(ca && { ca }), cert, key }, (socket) => {
    socket.on("error", () => {})
    socket.resume()
    accepted(portOf(server))
  })
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1_024 }, () => start(portOf(server)))
  return done
}

export const acceptByPool = () => {
  const { accepted, done, start } = meter()
  const program = Effect.gen(function* () {
    const pool = yield* IoPool
    const listener = yield* pool.listen({
      framer,
      tls: serverTls,
      at: { host: "127.0.0.1", port: 0 }
    })
    yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(listener.accept, Effect.sync(() => accepted(listener.port))))
    )
    start(listener.port)
    return yield* Effect.promise(() => done)
  })
  return Effect.runPromise(
    program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 })))
  )
}
