/**
 * Opens sockets and listeners with `node:net` and `node:tls`, and reads them the fast way.
 *
 * A plain socket is read by `onread` into a buffer that exists already: two and a half times
 * the speed of `data` events. Node offers that to connecting sockets only, so an accepted one
 * passes its handle to a new socket where a probe finds that this works, and is read by `data`
 * events elsewhere. On TLS sockets of a server `onread` stays silent; TLS is read by events too.
 */
import * as net from "node:net"
import { Server as TlsServer, TLSSocket } from "node:tls"
import type { Endpoint, PeerInfo } from "./messages.ts"
import type { Reader, Server } from "./platform.ts"
import { connectTls, makeTlsServer, renew, tlsPeerOf, type TlsSettings } from "./tls.ts"

/** Bytes that a `data` event carries at most. */
const dataRoom = Number.POSITIVE_INFINITY

const onread = (reader: Reader): net.OnReadOpts => ({
  // The typings miss that a function may return any byte array; Node checks for Uint8Array.
  buffer: reader.buffer,
  callback: (length) => reader.onRead(length)
})

const readByEvents = (socket: net.Socket, reader: Reader): void => {
  socket.on("data", (bytes: Buffer) => {
    if (!reader.read(bytes, bytes.length, dataRoom)) socket.pause()
  })
}

/** Starts to connect. The socket reads once `ready` was seen and `resume` called. */
export const connectSocket = (
  endpoint: Endpoint,
  settings: TlsSettings | undefined,
  halfOpen: boolean,
  reader: Reader
): net.Socket => {
  if (settings === undefined) {
    const options = { allowHalfOpen: halfOpen, noDelay: true, onread: onread(reader) }
    return net.connect({ ...endpoint, ...options })
  }
  return connectTls(endpoint, settings, halfOpen).setNoDelay(true)
}

/** The event after which a socket made by `connectSocket` carries the protocol's bytes. */
export const openEvent = (settings: TlsSettings | undefined): "connect" | "secureConnect" =>
  settings === undefined ? "connect" : "secureConnect"

/** Begins to read an open socket. */
export const startReading = (socket: net.Socket, byEvents: boolean, reader: Reader): void => {
  if (byEvents) readByEvents(socket, reader)
  socket.resume()
}

/** Takes over a file descriptor; from here on the socket closes it. */
export const adoptSocket = (
  fd: number,
  halfOpen: boolean,
  reader: Reader | undefined
): net.Socket => {
  const options = { fd, allowHalfOpen: halfOpen, readable: true, writable: true }
  const reading = reader === undefined ? {} : { onread: onread(reader) }
  return new net.Socket({ ...options, ...reading }).setNoDelay(true)
}

/**
 * Makes a new socket around an accepted connection, which reads into the reader's buffer. It uses
 * undocumented properties of Node, so `probeReread` checks whether it works.
 */
export const rereadSocket = (
  accepted: net.Socket,
  halfOpen: boolean,
  reader: Reader
): net.Socket => {
  // `_handle` is private in Node's typings, and the only way to give an accepted socket `onread`.
  const owner = accepted as unknown as { _handle: unknown }
  const handle = owner._handle
  if (handle === null || handle === undefined) return accepted
  owner._handle = null
  const options = { handle, allowHalfOpen: halfOpen, onread: onread(reader) }
  // A socket with a handle starts to read by itself.
  return new net.Socket(options as net.SocketConstructorOpts).pause()
}

/** Milliseconds that the probe waits for one byte over loopback. */
const probeWithinMs = 1_000

/**
 * Checks whether `reread` makes sockets that read into their reader's buffer: sends one byte over
 * loopback. Without loopback the answer is no.
 */
export const probeReread = (reread: typeof rereadSocket): Promise<boolean> =>
  new Promise((resolve) => {
    const sockets: Array<net.Socket> = []
    const server = net.createServer({ pauseOnConnect: true })
    const timer = setTimeout(() => answer(false), probeWithinMs)
    const answer = (works: boolean): void => {
      clearTimeout(timer)
      for (const socket of sockets) socket.destroy()
      server.close()
      resolve(works)
    }
    const failed = (): void => answer(false)
    const bytes = new Uint8Array(16)
    const reader: Reader = {
      buffer: () => bytes,
      onRead: (length) => {
        answer(length === 1 && bytes[0] === 7)
        return false
      },
      read: () => false
    }
    server.on("error", failed)
    server.on("connection", (accepted) => {
      sockets.push(accepted)
      try {
        const socket = reread(accepted, false, reader).on("error", failed)
        sockets.push(socket)
        socket.on("data", failed).resume()
      } catch {
        failed()
      }
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      const client = net.connect({ host: "127.0.0.1", port }).on("error", failed)
      sockets.push(client)
      client.write(Uint8Array.of(7))
    })
  })

let canReread: Promise<boolean> | undefined

/** Whether accepted sockets of this thread can be read into a buffer; probed once. */
export const rereads = (): Promise<boolean> => (canReread ??= probeReread(rereadSocket))

/** A server that is not listening yet; `accepted` gets sockets that do not read yet. */
export const makeServer = (
  settings: TlsSettings | undefined,
  halfOpen: boolean,
  handshakeWithinMs: number,
  accepted: (socket: net.Socket) => void
): net.Server => {
  if (settings === undefined) {
    const options = { pauseOnConnect: true, allowHalfOpen: halfOpen, noDelay: true }
    return net.createServer(options, accepted)
  }
  return makeTlsServer(settings, halfOpen, handshakeWithinMs, accepted)
}

/** Makes a server use other certificates from its next handshake on. */
export const renewCertificates = (server: Server, settings: TlsSettings): void => {
  if (server instanceof TlsServer) renew(server, settings)
}

/** The peer of an open socket. */
export const peerOf = (socket: net.Socket): PeerInfo => {
  const base = { address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 }
  return socket instanceof TLSSocket ? { ...base, tls: tlsPeerOf(socket) } : base
}
