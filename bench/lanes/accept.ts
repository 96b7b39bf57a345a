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

// Enough for everything on the way to be compiled.
const warmUp = 1_000
const count = 500
const total = warmUp + 2 * count

/** A pause after each storm, in which its connections close. */
const pause = 300

/**
 * Counts accepts. After the warm-up, one storm measures CPU and a second one the delay of the
 * event loop, because watching the delay costs CPU itself.
 */
const meter = () => {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let seen = 0
  let cpu = process.threadCpuUsage()
  let accept = 0
  let resolve: (outcome: Record<string, Outcome>) => void = () => {}
  const done = new Promise<Record<string, Outcome>>((settle) => (resolve = settle))
  const storm = (port: number, begin: () => void): void => {
    setTimeout(() => {
      load(["storm", port, count, certificates.href], begin)
    }, pause)
  }
  const report = (): void => {
    delay.disable()
    const counted = { completed: seen, expected: total }
    const waited = delay.percentile(99) / 1e6
    resolve({
      accept: { value: accept, unit: "µs of main thread per accept", ...counted },
      delay: { value: waited, unit: "ms p99 of the event loop", ...counted }
    })
  }
  const accepted = (port: number): void => {
    seen++
    if (seen === warmUp) storm(port, () => (cpu = process.threadCpuUsage()))
    if (seen === warmUp + count) {
      const { system, user } = process.threadCpuUsage(cpu)
      accept = (user + system) / count
      storm(port, () => delay.enable())
    }
    // A moment more, so that the delay of this turn is recorded.
    if (seen === total) setTimeout(report, 5)
  }
  const start = (port: number): void => load(["storm", port, warmUp, certificates.href])
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
      Effect.forever(
        Effect.andThen(
          listener.accept,
          Effect.sync(() => accepted(listener.port))
        )
      )
    )
    start(listener.port)
    return yield* Effect.promise(() => done)
  })
  return Effect.runPromise(
    program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 })))
  )
}
