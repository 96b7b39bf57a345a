/**
 * Opens sockets and listeners with `node:net` and `node:tls`, and reads them the fast way.
 *
 * A plain socket is read by `onread` into a buffer that exists already: two and a half times
 * the speed of `data` events. Node offers that to connecting sockets only, so an accepted one
 * passes its handle to a new socket. On TLS sockets of a server `onread` stays silent; TLS is
 * read by `data` events.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import type { Endpoint, PeerInfo, TlsSettings } from "./jobs.ts"

/** Reads of one socket. */
export interface Reader {
  /** Chooses the buffer for the next read. */
  readonly buffer: () => Uint8Array
  /** Takes a read into that buffer; false holds the reading until `resume`. */
  readonly took: (length: number) => boolean
  /** Takes bytes that lie elsewhere. */
  readonly read: (bytes: Uint8Array, length: number, room: number) => boolean
  /** A read brought nothing; gives the buffer for the next one if it is to be another. */
  readonly missed: () => Uint8Array | undefined
}

/** Bytes that a `data` event carries at most. */
const dataRoom = Number.POSITIVE_INFINITY

const onread = (reader: Reader): net.OnReadOpts => ({
  // The typings miss that a function may return any byte array; Node checks for Uint8Array.
  buffer: reader.buffer,
  callback: (length) => reader.took(length)
})

/** Node's own side of a socket, which its typings leave out. */
interface Handle {
  onread: (this: Handle, ...args: Array<unknown>) => unknown
}

/**
 * Node says nothing of a read that found no bytes, and would use the buffer that was chosen for it
 * for the next one, whenever that is.
 */
const watchMisses = (socket: net.Socket, reader: Reader): void => {
  const { _handle: handle } = socket as unknown as { readonly _handle: Handle | null }
  if (handle === null) return
  const { onread } = handle
  handle.onread = function (...args) {
    const next = onread.apply(this, args)
    return reader.missed() ?? next
  }
  socket.once("close", reader.missed)
}

const readByEvents = (socket: net.Socket, reader: Reader): void => {
  socket.on("data", (bytes: Buffer) => {
    if (!reader.read(bytes, bytes.length, dataRoom)) socket.pause()
  })
}

/** Contexts that a thread keeps: few services have more than one or two identities. */
const keptContexts = 16
const contexts = new Map<string, tls.SecureContext>()

/**
 * The parsed certificates of these settings, made once: parsing costs more than a handshake's
 * arithmetic, and a context's memory is only given back by a garbage collection.
 */
const contextOf = ({ ca, cert, key }: TlsSettings): tls.SecureContext => {
  const name = JSON.stringify([ca, cert, key])
  const kept = contexts.get(name)
  if (kept !== undefined) return kept
  const made = tls.createSecureContext({
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(ca === undefined ? {} : { ca })
  })
  const [oldest] = contexts.keys()
  if (oldest !== undefined && contexts.size >= keptContexts) contexts.delete(oldest)
  contexts.set(name, made)
  return made
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
  const options: tls.ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    ...endpoint,
    secureContext: contextOf(settings),
    rejectUnauthorized: settings.verifyPeer,
    ...(settings.servername === undefined ? {} : { servername: settings.servername }),
    allowHalfOpen: halfOpen
  }
  const socket = tls.connect(options)
  socket.setNoDelay(true)
  return socket
}

/** The event after which a socket made by `connectSocket` carries the protocol's bytes. */
export const openEvent = (settings: TlsSettings | undefined): string =>
  settings === undefined ? "connect" : "secureConnect"

/** Begins to read an open socket. */
export const startReading = (socket: net.Socket, secure: boolean, reader: Reader): void => {
  if (secure) readByEvents(socket, reader)
  else watchMisses(socket, reader)
  socket.resume()
}

/** Takes over a file descriptor; from here on the socket closes it. */
export const adoptSocket = (fd: number, halfOpen: boolean, reader: Reader): net.Socket => {
  const options = { fd, allowHalfOpen: halfOpen, readable: true, writable: true }
  return new net.Socket({ ...options, onread: onread(reader) }).setNoDelay(true)
}

/** A new socket around an accepted connection, which reads into the reader's buffer. */
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
  return new net.Socket(options as net.SocketConstructorOpts)
}

/** A server that is not listening yet; `accepted` gets sockets that do not read yet. */
export const makeServer = (
  settings: TlsSettings | undefined,
  halfOpen: boolean,
  handshakeWithin: number,
  accepted: (socket: net.Socket) => void
): net.Server => {
  if (settings === undefined) {
    const options = { pauseOnConnect: true, allowHalfOpen: halfOpen, noDelay: true }
    return net.createServer(options, accepted)
  }
  return tls.createServer(
    {
      ...settings,
      requestCert: settings.verifyPeer,
      rejectUnauthorized: settings.verifyPeer,
      allowHalfOpen: halfOpen,
      handshakeTimeout: handshakeWithin,
      noDelay: true
    },
    accepted
  )
}

/** Who is at the other end of an open socket. */
export const peerOf = (socket: net.Socket): PeerInfo => {
  const base = { address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 }
  if (!(socket instanceof tls.TLSSocket)) return base
  // The other form of a peer's certificate is parsed into an object, field by field.
  const certificate = socket.getPeerX509Certificate()
  return {
    ...base,
    tls: {
      protocol: socket.getProtocol() ?? "",
      authorized: socket.authorized,
      subject: /^CN=(.*)$/m.exec(certificate?.subject ?? "")?.[1] ?? "",
      fingerprint: certificate?.fingerprint256 ?? ""
    }
  }
}
