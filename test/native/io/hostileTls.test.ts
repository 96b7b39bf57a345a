/**
 * Goal: whatever a peer does to a port with TLS ends its own connection only, in time, and gives
 * all of it back.
 * Method: hostile peers, one kind after the other, at an echo in a worker and on the main thread,
 * beside a lane that exchanges frames all the time. After each kind only that lane is left, and the
 * descriptors are those of the start.
 */
import * as net from "node:net"
import { Duplex } from "node:stream"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { lengthPrefixed as framer } from "../../../src/native/io/Framer.ts"
import * as lab from "./harness.ts"

const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

const frameOf = (bytes: number): Buffer => {
  const frame = Buffer.alloc(4 + bytes, 7)
  frame.writeUInt32BE(bytes)
  return frame
}

/** A hostile peer; it resolves when its connection has ended. */
type Peer = (port: number) => Promise<void>

const connect = (port: number): net.Socket =>
  net.connect({ host: "127.0.0.1", port, noDelay: true }).on("error", () => {})

const ended = (socket: net.Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) resolve()
    else socket.once("close", () => resolve()).resume()
  })

const { ca, cert, key } = lab.tlsOf("client")
const identity = { ca: ca!, cert: cert!, key: key!, servername: "localhost" }

/** A client whose bytes on the wire pass through this test. */
const secured = (port: number, options: tls.ConnectionOptions = {}) =>
  new Promise<{ raw: net.Socket; client: tls.TLSSocket }>((resolve) => {
    const raw = connect(port)
    const wire = new Duplex({
      read() {},
      write: (bytes, _encoding, done) => void raw.write(bytes, () => done())
    })
    raw.on("data", (bytes) => wire.push(bytes))
    raw.on("close", () => wire.push(null))
    const client = tls.connect({ socket: wire, ...identity, ...options })
    client.on("error", () => raw.destroy())
    client.once("secureConnect", () => resolve({ raw, client }))
    raw.once("close", () => resolve({ raw, client }))
  })

/** The start of a ClientHello that announces more than comes. */
const halfHello = Buffer.from("1603010200010001fc0303" + "ab".repeat(400), "hex")

const peers: Readonly<Record<string, Peer>> = {
  "says nothing": (port) => ended(connect(port)),
  "sends half a ClientHello": (port) => {
    const socket = connect(port)
    socket.write(halfHello)
    return ended(socket)
  },
  "sends its ClientHello drop by drop": async (port) => {
    const socket = connect(port)
    let at = 0
    const drops = setInterval(() => void socket.write(halfHello.subarray(at, ++at)), 100)
    await ended(socket)
    clearInterval(drops)
  },
  "speaks in clear text": (port) => {
    const socket = connect(port)
    socket.write(frameOf(100))
    return ended(socket)
  },
  "leaves at once": async (port) => {
    for (let round = 0; round < 13; round++) {
      const leavers = upTo(40).map((n) => {
        const socket = connect(port)
        socket.once("connect", () => (n % 2 === 0 ? socket.destroy() : socket.resetAndDestroy()))
        return ended(socket)
      })
      await Promise.all(leavers)
    }
  },
  "asks for names without end": async (port) => {
    const { client, raw } = await secured(port, {
      servername: "x".repeat(255),
      checkServerIdentity: () => undefined,
      ALPNProtocols: upTo(200).map((n) => String(n).padStart(255, "p"))
    })
    client.end()
    raw.end()
    await ended(raw)
  },
  "renegotiates without end": async (port) => {
    const to = { host: "127.0.0.1", port, ...identity }
    const client = tls.connect({ ...to, maxVersion: "TLSv1.2" }).on("error", () => {})
    await new Promise<void>((resolve) => void client.once("secureConnect", () => resolve()))
    // Node's servers allow none by a client, and answer each with a warning.
    for (let n = 0; n < 300 && !client.destroyed; n++) {
      client.renegotiate({}, () => {})
      await new Promise((resolve) => setImmediate(resolve))
    }
    client.destroy()
    await ended(client)
  },
  "never reads": async (port) => {
    const { client, raw } = await secured(port)
    const frame = frameOf(100_000)
    raw.pause()
    const write = (): void => {
      if (!client.destroyed) client.write(frame, () => setImmediate(write))
    }
    write()
    await new Promise<void>((resolve) => void raw.once("close", () => resolve()))
  },
  "sends a frame byte by byte, and then one that is too long": async (port) => {
    const { client, raw } = await secured(port)
    const echoed = new Promise<number>((resolve) => {
      let got = 0
      client.on("data", (bytes) => (got += bytes.length) === 24 && resolve(got))
    })
    for (const byte of frameOf(20)) {
      await new Promise<void>((written) => void client.write(Buffer.of(byte), () => written()))
    }
    assert.strictEqual(await echoed, 24)
    client.write(Buffer.alloc(4, 0xff))
    await ended(raw)
  },
  "sends garbage behind its handshake": async (port) => {
    const { raw } = await secured(port)
    raw.write(Buffer.alloc(5_000, 0x17))
    await ended(raw)
  },
  "leaves without a close_notify, in the midst of a frame": async (port) => {
    const { client, raw } = await secured(port)
    await new Promise<void>(
      (written) => void client.write(frameOf(50).subarray(0, 9), () => written())
    )
    raw.end()
    await ended(raw)
  }
}

for (const on of ["worker", "main"] as const) {
  describe(`a peer of a port with TLS (${on})`, () => {
    for (const [what, peer] of Object.entries(peers)) {
      it.live(`that ${what} ends its own connection only`, () =>
        lab.withPool({ workers: 1, openWithinMs: 1_000, stallAfterMs: 1_000 }, (pool) =>
          Effect.gen(function* () {
            const tls = lab.tlsOf("server")
            const { port } = yield* pool.serve({ framer, on, tls, at: lab.loopback }, (lane) =>
              lane.run((batch) => lane.send(batch.all))
            )
            const to = { host: "127.0.0.1", port }
            const good = yield* pool.connect({ framer, on, tls: lab.tlsOf("client"), to })
            let exchanged = 0
            const exchange = Effect.gen(function* () {
              good.send(frameOf(1_000))
              assert.strictEqual((yield* lab.takeCount(good, 1))[0]!.length, 1_004)
              exchanged++
              yield* Effect.sleep("5 millis")
            })
            yield* exchange
            const before = lab.descriptors()
            yield* Effect.forkScoped(Effect.forever(exchange))
            for (let round = 0; round < 2; round++) {
              const attack = Effect.promise(() => peer(port))
              yield* Effect.timeout(attack, "8 seconds").pipe(Effect.orDie)
            }
            const seen = exchanged
            yield* lab.until("exchanges go on", () => Effect.sync(() => exchanged > seen + 3))
            yield* lab.until("only the other lane is left", () =>
              Effect.map(pool.stats, ({ lanes }) => lanes === 2)
            )
            yield* lab.until("descriptors are closed", () =>
              Effect.sync(() => lab.descriptors() <= before)
            )
            const { sendHighWater } = yield* pool.stats
            assert.isBelow(sendHighWater, 6_000_000)
          })
        )
      )
    }
  })
}
