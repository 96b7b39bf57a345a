/**
 * Receivers: what the main thread pays for each frame, by `node:net` or `node:tls` on the main
 * thread and by lanes.
 */
import { fork } from "node:child_process"
import { readFileSync } from "node:fs"
import * as net from "node:net"
import * as tls from "node:tls"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { IoPool, type LaneOptions } from "../../src/native/io/IoPool.ts"
import type { TlsSettings } from "../../src/native/io/IoPool.ts"
import type { Outcome } from "../harness.ts"
import { frameLength } from "./frames.ts"

export const framer = new URL("./frames.ts", import.meta.url)
export const certificates = new URL("../../test/fixtures/tls/", import.meta.url)

const pem = (name: string): string => readFileSync(new URL(`${name}.pem`, certificates), "utf8")

/** RSA 2048, the most usual kind: dear to the side that accepts, cheap to the generator of load. */
export const serverTls: TlsSettings = {
  cert: pem("server-rsa"),
  key: pem("server-rsa-key"),
  ca: pem("ca"),
  verify: "name"
}

/** Starts a generator of load in a process of its own; a storm tells when it began. */
export const load = (args: ReadonlyArray<string | number>, began?: (at: number) => void): void => {
  const child = fork(fileURLToPath(new URL("./load.ts", import.meta.url)), args.map(String))
  if (began !== undefined) child.once("message", (at) => began(Number(at)))
  process.on("exit", () => child.kill())
}

/** Bytes of one read, the same for all: small reads cost the kernel more for each byte. */
const readBytes = 262_144

/** Connections of a blast; few, as between nodes of a cluster. */
const connections = 4

/** Measures from a quarter of the frames on, when all that is compiled late is compiled. */
class Meter {
  seen = 0
  /** Makes sure that each frame is looked at. */
  sum = 0
  readonly #total: number
  #from = 0
  #cpu = process.threadCpuUsage()
  #all = process.cpuUsage()
  #start = 0
  readonly done: Promise<Record<string, Outcome>>
  #resolve: (outcome: Record<string, Outcome>) => void = () => {}
  readonly #name: string

  constructor(name: string, total: number) {
    this.#name = name
    this.#total = total
    this.done = new Promise((resolve) => (this.#resolve = resolve))
  }

  /** Call after each batch. */
  note(): void {
    if (this.#from === 0 && this.seen * 4 >= this.#total) {
      this.#from = this.seen
      this.#cpu = process.threadCpuUsage()
      this.#all = process.cpuUsage()
      this.#start = performance.now()
    }
    if (this.seen < this.#total) return
    const { system, user } = process.threadCpuUsage(this.#cpu)
    const all = process.cpuUsage(this.#all)
    const seconds = (performance.now() - this.#start) / 1000
    const frames = this.seen - this.#from
    const counted = { completed: this.seen, expected: this.#total }
    this.#resolve({
      [`cpu-${this.#name}`]: {
        value: ((user + system) * 1000) / frames,
        unit: "ns of main thread per frame",
        ...counted
      },
      [`process-${this.#name}`]: {
        value: ((all.user + all.system) * 1000) / frames,
        unit: "ns of all threads per frame",
        ...counted
      },
      [`rate-${this.#name}`]: { value: frames / seconds, unit: "frames/s", ...counted }
    })
  }
}

/** Cuts reads into frames the plain way, keeping the cut one. */
const cutter = (meter: Meter) => {
  const cut = new Uint8Array(1_048_576)
  let held = 0
  return (bytes: Uint8Array, to: number): void => {
    let at = 0
    if (held > 0) {
      while (held < 4 && at < to) cut[held++] = bytes[at++] ?? 0
      const rest = Math.min(frameLength(cut, 0, held) - held, to - at)
      cut.set(bytes.subarray(at, at + rest), held)
      held += rest
      at += rest
      if (held === frameLength(cut, 0, held)) {
        meter.sum += cut[4] ?? 0
        meter.seen++
        held = 0
      }
    }
    while (at < to) {
      const length = frameLength(bytes, at, to)
      if (length === 0 || at + length > to) {
        cut.set(bytes.subarray(at, to))
        held = to - at
        break
      }
      meter.sum += bytes[at + 4] ?? 0
      meter.seen++
      at += length
    }
    meter.note()
  }
}

export const portOf = (server: net.Server): number => {
  const address = server.address()
  return typeof address === "object" ? (address?.port ?? 0) : 0
}

/** `node:net` with `onread` into one buffer, on the main thread. */
export const byNet = (name: string, size: number, total: number) => {
  const meter = new Meter(name, total)
  const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
    // Accepted sockets have no `onread` of their own: the handle moves to one that has.
    const owner = accepted as unknown as { _handle: unknown }
    const handle = owner._handle
    owner._handle = null
    const take = cutter(meter)
    const onread = {
      buffer: new Uint8Array(readBytes),
      callback: (length: number, bytes: Uint8Array) => {
        take(bytes, length)
        return true
      }
    }
    new net.Socket({ handle, onread } as net.SocketConstructorOpts).resume()
  })
  server.listen(0, "127.0.0.1", () => load(["blast", portOf(server), connections, size, total]))
  return meter.done
}

/** `node:tls` on the main thread. */
export const byTls = (name: string, size: number, total: number) => {
  const meter = new Meter(name, total)
  const { ca, cert, key } = serverTls
  const options = { ca, cert, key, requestCert: true, rejectUnauthorized: true }
  const server = tls.createServer(options as tls.TlsOptions, (socket) => {
    const take = cutter(meter)
    socket.on("data", (bytes: Buffer) => take(bytes, bytes.length))
  })
  server.listen(0, "127.0.0.1", () => {
    load(["blast", portOf(server), connections, size, total, certificates.href])
  })
  return meter.done
}

/** Lanes of a pool with one worker. */
export const byLanes = (
  name: string,
  size: number,
  total: number,
  options: Pick<LaneOptions, "on" | "tls">
) => {
  const meter = new Meter(name, total)
  const secure = options.tls === undefined ? [] : [certificates.href]
  const program = Effect.gen(function* () {
    const pool = yield* IoPool
    const listener = yield* pool.listen({ framer, ...options, at: { host: "127.0.0.1", port: 0 } })
    load(["blast", listener.port, connections, size, total, ...secure])
    for (let i = 0; i < connections; i++) {
      const lane = yield* listener.accept
      lane.onFrames((batch) => {
        const { bytes, count } = batch
        for (let i = 0; i < count; i++) meter.sum += bytes[batch.start(i) + 4] ?? 0
        meter.seen += count
        meter.note()
      })
    }
    return yield* Effect.promise(() => meter.done)
  })
  return Effect.runPromise(
    program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 })))
  )
}
