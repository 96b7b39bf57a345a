/**
 * What the tests of lanes share: frames of the laboratory protocol, raw peers that misbehave,
 * and the count of what must be given back.
 */
import { fork } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import * as net from "node:net"
import { Duplex } from "node:stream"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { IoPool, type Settings } from "../../../src/native/io/IoPool.ts"
import type { Lane } from "../../../src/native/io/Lane.ts"
import type { TlsSettings } from "../../../src/native/io/IoPool.ts"
import { eventually } from "../../eventually.ts"
import { Kind } from "./fixtures/labFramer.ts"

export const labFramer = new URL("./fixtures/labFramer.ts", import.meta.url)
export const commandFramer = new URL("./fixtures/commandFramer.ts", import.meta.url)
export const loopback = { host: "127.0.0.1", port: 0 }

/** A frame of the laboratory protocol. */
export const frame = (kind: keyof typeof Kind, body: Uint8Array = new Uint8Array(0)) => {
  const bytes = new Uint8Array(5 + body.length)
  new DataView(bytes.buffer).setUint32(0, bytes.length)
  bytes[4] = Kind[kind]
  bytes.set(body, 5)
  return bytes
}

/** A plain frame that carries a number. */
export const numbered = (n: number, size = 4): Uint8Array => {
  const body = new Uint8Array(Math.max(4, size))
  new DataView(body.buffer).setUint32(0, n)
  return frame("plain", body)
}

export const numberOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(5)

export const words = (...values: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(values.length * 4)
  const view = new DataView(bytes.buffer)
  values.forEach((value, i) => view.setUint32(i * 4, value))
  return bytes
}

/** A PEM text of the test certificates. */
export const pem = (name: string): string =>
  readFileSync(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url), "utf8")

/** TLS settings with mutual authentication against the test CA. */
export const tlsOf = (name: "server" | "client" | "stranger"): TlsSettings => ({
  cert: pem(name),
  key: pem(`${name}-key`),
  ca: pem("ca"),
  servername: "localhost",
  verify: "name"
})

/** Open file descriptors of this process. */
export const descriptors = (): number => readdirSync("/proc/self/fd").length

/** Runs a program with a pool; afterwards no job is out and no descriptor is left. */
export const withPool = <A, E>(
  settings: Settings,
  program: (pool: IoPool["Service"]) => Effect.Effect<A, E, Scope.Scope>
): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const before = descriptors()
    const result = yield* Effect.gen(function* () {
      const pool = yield* IoPool
      const result = yield* Effect.scoped(program(pool))
      yield* until("jobs come back", () => pool.stats.pipe(Effect.map((s) => s.jobsOut === 0)))
      yield* until("lanes are released", () => pool.stats.pipe(Effect.map((s) => s.lanes === 0)))
      return result
    }).pipe(Effect.provide(Layer.orDie(IoPool.layer({ closeWithinMs: 200, ...settings }))))
    yield* until("descriptors are closed", () => Effect.sync(() => descriptors() <= before))
    return result
  })

/** Waits until a condition holds. */
export const until = <E>(what: string, check: () => Effect.Effect<boolean, E>) =>
  eventually(what, Effect.suspend(check))

/** A raw client socket, closed with the Scope. */
export const rawClient = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const socket = net.connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true })
      socket.on("error", () => {})
      for (const event of ["connect", "close"]) {
        socket.once(event, () => resume(Effect.succeed(socket)))
      }
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** The port of a peer in another process that sends a frame every 10 ms. */
export const ticker = Effect.acquireRelease(
  Effect.callback<{ port: number; stop: () => void }>((resume) => {
    const child = fork(new URL("./fixtures/ticker.ts", import.meta.url))
    child.once("message", (port) => {
      resume(Effect.succeed({ port: Number(port), stop: () => child.disconnect() }))
    })
  }),
  ({ stop }) => Effect.sync(stop)
).pipe(Effect.map(({ port }) => port))

/** A raw server that hands its sockets out, closed with the Scope. */
export const rawServer = (accepted: (socket: net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ port: number; close: () => void }>((resume) => {
      const sockets = new Set<net.Socket>()
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        accepted(socket)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" ? (address?.port ?? 0) : 0
        const close = (): void => {
          server.close()
          for (const socket of sockets) socket.destroy()
        }
        resume(Effect.succeed({ port, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

/** A small generator of numbers below a bound; the same seed gives the same numbers. */
export const generator = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** Two ends of a plain connection within a pool. */
export const pair = Effect.fnUntraced(function* (pool: IoPool["Service"], on: "worker" | "main") {
  const listener = yield* pool.listen({ framer: labFramer, on, at: loopback })
  const to = { host: "127.0.0.1", port: listener.port }
  const client = yield* pool.connect({ framer: labFramer, on, to })
  const server = yield* listener.accept
  return { client, server }
})

/** Takes at least so many frames. */
export const takeCount = Effect.fnUntraced(function* (lane: Lane, count: number) {
  const frames: Array<Uint8Array> = []
  while (frames.length < count) frames.push(...(yield* lane.take))
  return frames
})

/** Sends, waiting while the lane is full. */
export const send = Effect.fnUntraced(function* (lane: Lane, bytes: Uint8Array) {
  while (lane.send(bytes) === "full") yield* lane.writable
})

/** A stream that writes to the socket in two pieces, 50 ms apart. */
export const inPieces = (socket: net.Socket): Duplex => {
  const duplex = new Duplex({
    read() {},
    write(bytes: Buffer, _encoding, done) {
      socket.write(bytes.subarray(0, 20))
      setTimeout(() => socket.write(bytes.subarray(20), () => done()), 50)
    }
  })
  socket.on("data", (bytes) => duplex.push(bytes))
  socket.on("end", () => duplex.push(null))
  return duplex
}
