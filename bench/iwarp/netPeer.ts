/**
 * The other process of a run over `node:net`: counts what comes and says when all has, or returns
 * each read.
 *
 * node netPeer.ts sink|echo
 */
import * as net from "node:net"
import { memoryBytes } from "./memory.ts"

const [, , kind] = process.argv

const pieceBytes = 65_536

/**
 * Where the next read goes: through as much memory as iWARP places into, as the program in C does,
 * since one buffer of 64 KiB would stay in the processor's cache.
 */
const pieces = () => {
  const memory = new Uint8Array(memoryBytes).fill(1)
  let at = 0
  return {
    next: () => memory.subarray(at, at + pieceBytes),
    filled: (length: number) => void (at = (at + length) % (memoryBytes - pieceBytes))
  }
}

const sink = (socket: net.Socket) => {
  let left = -1
  return (length: number, bytes: Uint8Array): void => {
    if (left < 0) left = Buffer.from(bytes.buffer, bytes.byteOffset, 8).readDoubleLE() + 8
    left -= length
    if (left === 0) socket.write("x")
  }
}

const echo = (socket: net.Socket) => (length: number, bytes: Uint8Array) =>
  void socket.write(bytes.slice(0, length))

const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
  // Accepted sockets have no `onread` of their own: the handle moves to one that has.
  const owner = accepted as unknown as { _handle: unknown }
  const handle = owner._handle
  owner._handle = null
  let take: ReturnType<typeof sink> | undefined
  const { filled, next } = pieces()
  const onread = {
    buffer: next,
    callback: (length: number, bytes: Uint8Array) => {
      filled(length)
      take?.(length, bytes)
      return true
    }
  }
  const socket = new net.Socket({ handle, onread, noDelay: true } as net.SocketConstructorOpts)
  socket.on("error", () => {})
  take = kind === "sink" ? sink(socket) : echo(socket)
  socket.resume()
})

server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  process.send!({ port: typeof address === "object" ? address?.port : 0 })
})
process.on("disconnect", () => process.exit())
