/**
 * What the lanes of one thread need of the world around them: sockets, timers and framers. The
 * operating system offers them, or a simulation.
 */
import type * as net from "node:net"
import type { Framer } from "../Framer.ts"
import type { Endpoint, OpenJob, PeerInfo } from "./messages.ts"
import type { TlsSettings } from "./tls.ts"

/** Ends a timer that has not fired. */
export type Cancel = () => void

/** The clock and the timers of a thread. */
export interface Timers {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
  /** Nanoseconds of the clock that all threads share. */
  readonly sharedNanos: () => bigint
  readonly after: (millis: number, act: () => void) => Cancel
  /** Acts again and again, and keeps no process alive by it. */
  readonly every: (millis: number, act: () => void) => Cancel
  /** Acts in the next turn of the event loop. */
  readonly nextTurn: (act: () => void) => void
  /** Acts at the end of what runs now. */
  readonly atEnd: (act: () => void) => void
}

/** Reads of one socket. */
export interface Reader {
  /** Chooses the buffer for the next read. */
  readonly buffer: () => Uint8Array
  /** Takes a read into that buffer; false pauses the reading until `resume`. */
  readonly onRead: (length: number) => boolean
  /** Takes bytes that lie elsewhere. */
  readonly read: (bytes: Uint8Array, length: number, room: number) => boolean
}

/** The part of a socket that a lane uses. All events come later than the call that causes them. */
export interface Connection {
  readonly allowHalfOpen: boolean
  readonly destroyed: boolean
  readonly writableEnded: boolean
  /** Bytes that were written and that the kernel has not taken. */
  readonly writableLength: number
  on(event: "error", listener: (error: Error) => void): unknown
  on(event: "end" | "close", listener: () => void): unknown
  once(event: "connect" | "secureConnect" | "close", listener: () => void): unknown
  off(event: "close", listener: () => void): unknown
  pause(): unknown
  resume(): unknown
  cork(): void
  uncork(): void
  write(bytes: Uint8Array, written: (error?: Error | null) => void): boolean
  end(ended?: () => void): unknown
  destroy(error?: Error): unknown
}

/** The part of a server that a listener uses. */
export interface Server {
  once(event: "error", listener: (error: Error) => void): unknown
  on(event: "error", listener: (error: Error) => void): unknown
  off(event: "error", listener: (error: Error) => void): unknown
  listen(options: net.ListenOptions, listening: () => void): unknown
  address(): net.AddressInfo | string | null
  close(): unknown
}

/** Opens sockets and listeners. */
export interface Sockets {
  connectSocket(
    endpoint: Endpoint,
    tls: TlsSettings | undefined,
    halfOpen: boolean,
    reader: Reader
  ): Connection
  /** Takes over a descriptor of the operating system. */
  adoptSocket(fd: number, halfOpen: boolean, reader: Reader | undefined): net.Socket
  /** A server that is not listening yet; `accepted` gets sockets that do not read yet. */
  makeServer(
    tls: TlsSettings | undefined,
    halfOpen: boolean,
    handshakeWithinMs: number,
    accepted: (socket: Connection) => void
  ): Server
  /** Makes a server with TLS use other certificates from its next handshake on. */
  renewCertificates(server: Server, tls: TlsSettings): void
  /** Makes an accepted socket read into its reader's buffer, where that works. */
  rereadSocket(accepted: Connection, halfOpen: boolean, reader: Reader): Connection
  startReading(socket: Connection, byEvents: boolean, reader: Reader): void
  peerOf(socket: Connection): PeerInfo
}

/** The result of loading for a job: its framer, and whether accepted sockets can be read anew. */
export interface Prepared {
  readonly framer: Framer
  readonly rereads: boolean
}

export interface Platform {
  readonly sockets: Sockets
  readonly timers: Timers
  /** Gets ready for a job. Calls back once, later. */
  readonly prepare: (
    job: OpenJob,
    prepared: (prepared: Prepared) => void,
    failed: (error: unknown) => void
  ) => void
}

/** A host of a simulated network. */
export interface SimulatedHost {
  /** Its sockets. Their events are told by `enqueue`, which runs them later in their process. */
  readonly sockets: (enqueue: (act: () => void) => void) => Sockets
}
