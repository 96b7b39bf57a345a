/**
 * Load from another process.
 *
 * `node load.ts blast PORT CONNECTIONS SIZE TOTAL [CERTIFICATES]` sends so many frames of so many
 * bytes over so many connections, as fast as they are taken. `node load.ts storm PORT COUNT
 * CERTIFICATES` opens and closes so many TLS connections, all at a time.
 */
import { readFileSync } from "node:fs"
import * as net from "node:net"
import { Duplex } from "node:stream"
import * as tls from "node:tls"
import { framesOf } from "./frames.ts"

/** Small enough to stay in a core's cache, so that sending costs as little as it can. */
const blockBytes = 65_536

/** Blocks that one system call takes. */
const blocksOfWrite = 16

const [mode, port, ...rest] = process.argv.slice(2)

const pem = (certificates: string, name: string): Buffer =>
  readFileSync(new URL(`${name}.pem`, certificates))

const contextOf = (certificates: string): tls.SecureContext =>
  tls.createSecureContext({
    cert: pem(certificates, "client"),
    key: pem(certificates, "client-key"),
    ca: pem(certificates, "ca")
  })

const connect = (secureContext?: tls.SecureContext): net.Socket => {
  const to = { host: "127.0.0.1", port: Number(port) }
  return secureContext === undefined
    ? net.connect({ ...to, noDelay: true })
    : tls.connect({ ...to, secureContext, servername: "localhost" })
}

const quit = (error: Error): void => {
  console.error(error)
  process.exit(1)
}

const blast = (
  size: number,
  frames: number,
  block: Uint8Array,
  certificates: string | undefined
): void => {
  const socket = connect(certificates === undefined ? undefined : contextOf(certificates))
  let left = frames * size
  const send = (): void => {
    if (left <= 0) {
      socket.end()
      return
    }
    socket.cork()
    for (let i = 0; i < blocksOfWrite && left > 0; i++) {
      const part = left >= block.length ? block : block.subarray(0, left)
      left -= part.length
      socket.write(part, left <= 0 || i === blocksOfWrite - 1 ? send : undefined)
    }
    socket.uncork()
  }
  socket.on(certificates === undefined ? "connect" : "secureConnect", send)
  socket.on("error", quit)
}

/** A client's side of TLS that has written its first flight, and says it once it has a socket. */
const prepared = (secureContext: tls.SecureContext) =>
  new Promise<(socket: net.Socket) => void>((resolve) => {
    let socket: net.Socket | undefined
    const wire: Duplex = new Duplex({
      read() {},
      write(flight: Buffer, _encoding, done) {
        if (socket !== undefined) socket.write(flight, done)
        else
          resolve((joined) => (socket = joined.on("data", take).on("end", end)).write(flight, done))
      },
      // A socket ends by itself when its peer does, and then takes no other end.
      final: (done) => void (socket?.writable === true ? socket.end(done) : done())
    })
    const take = (bytes: Buffer): unknown => wire.push(bytes)
    const end = (): unknown => wire.push(null)
    const secure = tls.connect({ socket: wire, secureContext, servername: "localhost" })
    secure.on("secureConnect", () => secure.end())
    secure.on("error", quit)
    secure.resume()
  })

const connected = () =>
  new Promise<net.Socket>((resolve) => {
    const socket = connect().on("error", quit)
    socket.on("connect", () => resolve(socket))
  })

/**
 * All first flights are ready, and all sockets connected, before the first flight leaves, so that
 * all are under way at once, as from many nodes that lost the same peer. The parent is told when it
 * begins.
 */
const storm = async (count: number, certificates: string): Promise<void> => {
  const secureContext = contextOf(certificates)
  const each = Array.from({ length: count })
  const clients = await Promise.all(each.map(() => prepared(secureContext)))
  const sockets = await Promise.all(each.map(connected))
  process.send?.(performance.timeOrigin + performance.now())
  for (const [index, begin] of clients.entries()) begin(sockets[index]!)
}

// The channel to the parent tells when a storm begins; it must not keep this process alive.
process.channel?.unref()

if (mode === "blast") {
  const [connections, size, total, certificates] = rest
  const each = Math.ceil(Number(total) / Number(connections))
  const block = framesOf(Number(size), blockBytes)
  for (let i = 0; i < Number(connections); i++) blast(Number(size), each, block, certificates)
} else {
  const [count, certificates] = rest
  await storm(Number(count), certificates ?? "")
}
