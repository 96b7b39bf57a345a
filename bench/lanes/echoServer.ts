/**
 * A server that echoes frames behind their length over mutual TLS, in a process of its own:
 * `node echoServer.ts tls|lanes|take TOTAL`. It tells its parent the port, and after so many frames
 * what they cost: CPU of all threads, counted from half of the frames on, when what is compiled
 * late is compiled, and the most memory that the process had.
 */
import { readFileSync } from "node:fs"
import type * as net from "node:net"
import type { TlsSettings } from "../../src/native/io/IoPool.ts"

const [kind, count] = process.argv.slice(2)
const total = Number(count)
const host = "127.0.0.1"

const pem = (name: string): string =>
  readFileSync(new URL(`../../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8")
const identity = { cert: pem("server"), key: pem("server-key"), ca: pem("ca") }

let seen = 0
let warm = 0
let cpu = process.cpuUsage()

/** Call after each batch of frames, once their answer is on its way. */
const note = (frames: number): void => {
  seen += frames
  if (warm === 0 && seen * 2 >= total) {
    warm = seen
    cpu = process.cpuUsage()
  }
  if (seen < total) return
  const { system, user } = process.cpuUsage(cpu)
  const nanos = ((user + system) * 1_000) / (seen - warm)
  process.send?.({ nanos, megabytes: process.resourceUsage().maxRSS / 1_024 })
}

/** `node:tls` as one writes it with care: answers all whole frames of a read at once. */
const byTls = async () => {
  const tls = await import("node:tls")
  const options = { ...identity, requestCert: true, rejectUnauthorized: true, noDelay: true }
  const server = tls.createServer(options, (socket) => {
    let cut: Buffer = Buffer.alloc(0)
    socket.on("data", (bytes: Buffer) => {
      const all = cut.length === 0 ? bytes : Buffer.concat([cut, bytes])
      let at = 0
      let frames = 0
      while (all.length - at >= 4) {
        const end = at + 4 + all.readUInt32BE(at)
        if (end > all.length) break
        at = end
        frames++
      }
      cut = all.subarray(at)
      if (frames === 0) return
      if (!socket.write(all.subarray(0, at))) {
        socket.pause()
        socket.once("drain", () => socket.resume())
      }
      note(frames)
    })
    socket.on("error", () => {})
  })
  server.listen(0, host, () => process.send?.((server.address() as net.AddressInfo).port))
}

/** A server of lanes: by batches, or by an Effect for each message. */
const byLanes = async () => {
  const { IoPool } = await import("../../src/native/io/IoPool.ts")
  const { lengthPrefixed: framer } = await import("../../src/native/io/Framer.ts")
  const Effect = await import("effect/Effect")
  const tls: TlsSettings = { ...identity, verify: "name" }
  const program = Effect.gen(function* () {
    const pool = yield* IoPool
    const server = yield* pool.serve({ framer, tls, at: { host, port: 0 } }, (lane) => {
      if (kind === "lanes") {
        return lane.run((batch) => {
          lane.send(batch.all)
          note(batch.count)
        })
      }
      const answer = (frame: Uint8Array) =>
        Effect.gen(function* () {
          while (lane.send(frame) === "full") yield* lane.writable
          note(1)
        })
      return lane.take.pipe(
        Effect.flatMap((frames) => Effect.forEach(frames, answer, { discard: true })),
        Effect.forever
      )
    })
    process.send?.(server.port)
    return yield* Effect.never
  })
  await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 }))))
}

process.on("disconnect", () => process.exit())
await (kind === "tls" ? byTls() : byLanes())
