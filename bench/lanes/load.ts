/**
 * Load from another process.
 *
 * `node load.ts blast PORT CONNECTIONS SIZE TOTAL [CERTIFICATES]` sends so many frames of so many
 * bytes over so many connections, as fast as they are taken. `node load.ts storm PORT COUNT
 * WIDTH CERTIFICATES` opens and closes so many TLS connections, so many at a time.
 */
import { readFileSync } from "node:fs"
import * as net from "node:net"
import * as tls from "node:tls"
import { framesOf } from "./frames.ts"

const [mode, port, ...rest] = process.argv.slice(2)

const connect = (certificates: string | undefined): net.Socket => {
  const to = { host: "127.0.0.1", port: Number(port) }
  if (certificates === undefined) return net.connect({ ...to, noDelay: true })
  const pem = (name: string) => readFileSync(new URL(`${name}.pem`, certificates))
  return tls.connect({
    ...to,
    cert: pem("client"),
    key: pem("client-key"),
    ca: pem("ca"),
    servername: "localhost"
  })
}

const quit = (error: Error): void => {
  console.error(error)
  process.exit(1)
}

const blast = (size: number, frames: number, certificates: string | undefined): void => {
  const block = framesOf(size, 1_048_576)
  const socket = connect(certificates)
  let left = frames * size
  const send = (): void => {
    if (left <= 0) {
      socket.end()
      return
    }
    const part = left >= block.length ? block : block.subarray(0, left)
    left -= part.length
    socket.write(part, send)
  }
  socket.on(certificates === undefined ? "connect" : "secureConnect", send)
  socket.on("error", quit)
}

const storm = (count: number, width: number, certificates: string | undefined): void => {
  let started = 0
  const next = (): void => {
    if (started++ >= count) return
    const socket = connect(certificates)
    socket.on("secureConnect", () => socket.end())
    socket.on("error", quit)
    socket.on("close", next)
    socket.resume()
  }
  for (let i = 0; i < width; i++) next()
}

if (mode === "blast") {
  const [connections, size, total, certificates] = rest
  const each = Math.ceil(Number(total) / Number(connections))
  for (let i = 0; i < Number(connections); i++) blast(Number(size), each, certificates)
} else {
  const [count, width, certificates] = rest
  storm(Number(count), Number(width), certificates)
}
