/**
 * A storm of TLS connects with mutual authentication: main-thread CPU per accept, and how long
 * other work on the main thread's loop is kept waiting.
 */
import * as tls from "node:tls"
import * as Effect from "effect/Effect"
import { IoPool } from "../../src/native/io/IoPool.ts"
import type { Outcome } from "../harness.ts"
import { certificates, framer, load, portOf, serverTls } from "./receive.ts"
import { waitedAtMost } from "./waits.ts"

// Enough for everything on the way to be compiled.
const warmUp = 2_000
const count = 500

/**
 * Storms in which CPU is measured: how the handshakes of one come in, and whether garbage is
 * collected in it, makes a large part of its cost.
 */
const storms = 3
const total = warmUp + (storms + 1) * count

/** A pause after each storm, in which its connections close. */
const pause = 300

/**
 * Counts accepts. After the warm-up, storms measure CPU and a last one the delay of the event loop,
 * because watching the delay costs CPU itself.
 */
const meter = () => {
  const turns: Array<number> = []
  let began = 0
  let seen = 0
  let cpu = process.threadCpuUsage()
  let accept = 0
  let resolve: (outcome: Record<string, Outcome>) => void = () => {}
  const done = new Promise<Record<string, Outcome>>((settle) => (resolve = settle))
  const watch = (): void => {
    turns.push(performance.now())
    if (seen < total) setTimeout(watch, 1)
  }
  const storm = (port: number, begun: (at: number) => void): void => {
    setTimeout(() => load(["storm", port, count, certificates.href], begun), pause)
  }
  const report = (to: number): void => {
    turns.push(performance.now())
    // The word of the storm's beginning may have waited like everything else.
    if (began === 0) return void setTimeout(() => report(to), 1)
    const counted = { completed: seen, expected: total }
    const delay = waitedAtMost(turns, began - performance.timeOrigin, to)
    resolve({
      accept: { value: accept, unit: "µs of main thread per accept", ...counted },
      delay: { value: delay, unit: "ms p99 of the event loop", ...counted }
    })
  }
  const accepted = (port: number): void => {
    seen++
    const over = (seen - warmUp) / count
    if (over < 0 || !Number.isInteger(over)) return
    if (over > 0 && over <= storms) {
      const { system, user } = process.threadCpuUsage(cpu)
      accept += (user + system) / (storms * count)
    }
    // Handshakes before the word of it came are not counted: that favours the main thread.
    if (over < storms) storm(port, () => (cpu = process.threadCpuUsage()))
    else if (over === storms) {
      storm(port, (at) => (began = at))
      watch()
    } else {
      const to = performance.now()
      // A turn more, so that what this one kept waiting is counted.
      setImmediate(() => report(to))
    }
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
    const acceptOne = Effect.map(listener.accept, () => accepted(listener.port))
    // It waits for connections, so it need not yield to others after each one as well.
    yield* Effect.forkScoped(Effect.forever(acceptOne, { disableYield: true }))
    start(listener.port)
    return yield* Effect.promise(() => done)
  })
  return Effect.runPromise(
    program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 })))
  )
}
