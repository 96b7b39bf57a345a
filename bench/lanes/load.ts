/**
 * Load from another process. `node load.ts blast PORT CONNECTIONS SIZE TOTAL CERTS?` sends so
 * many frames of so many bytes over so many connections, as fast as they are taken.
 */
import { readFileSync } from "node:fs"
import * as net from "node:net"
import * as tls from "node:tls"
import { framesOf } from "./frames.ts"

const [port, connections, size, total, certificates] = process.argv.slice(2)

const connect = (): net.Socket => {
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

const blast = (frames: number): void => {
  const bytes = Number(size)
  const block = framesOf(bytes, 262_144)
  const socket = connect()
  let left = frames * bytes
  const send = (): void => {
    if (left <= 0) return void socket.end()
    const part = left >= block.length ? block : block.subarray(0, left)
    left -= part.length
    socket.write(part, send)
  }
  socket.on(certificates === undefined ? "connect" : "secureConnect", send)
  socket.on("error", (error) => {
    console.error(error)
    process.exit(1)
  })
}

for (let i = 0; i < Number(connections); i++) blast(Math.ceil(Number(total) / Number(connections)))
