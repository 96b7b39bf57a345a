/**
 * Connections for handshakes: bytes in, bytes out, once each way.
 *
 * A plain socket is used directly, on the main thread: for two short messages, a lane would cost
 * more than all the rest. TLS uses a lane, whose worker does the cryptography.
 */
import * as Effect from "effect/Effect"
import * as net from "node:net"
import type { Lane } from "../../../../native/io/Lane.ts"
import type { PeerInfo } from "../../../../native/io/internal/messages.ts"

/** Callbacks of a connection. */
export interface TransportEvents {
  /** Valid during the call. */
  readonly received: (bytes: Uint8Array) => void
  /** The peer has ended its side. */
  readonly ended: () => void
  /** The connection is closed; the last callback. */
  readonly closed: () => void
}

export interface Transport {
  readonly peer: PeerInfo
  /** Sends, then ends this side. */
  readonly end: (bytes: Uint8Array) => void
  /** Closes at once. */
  readonly abort: () => void
}

/** Shared read buffer of all sockets of the main thread: each read is consumed in the same step. */
const buffer = new Uint8Array(65_536)

class SocketTransport implements Transport {
  readonly #socket: net.Socket

  constructor(socket: net.Socket, events: TransportEvents) {
    this.#socket = socket
    socket.on("end", events.ended)
    socket.on("close", events.closed)
  }

  get peer(): PeerInfo {
    const { remoteAddress = "", remotePort = 0 } = this.#socket
    return { address: remoteAddress, port: remotePort }
  }

  end(bytes: Uint8Array): void {
    this.#socket.end(bytes)
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  abort(): void {
    this.#socket.destroy()
  }
}

/** An error is followed by a close, which is handled. */
const ignore = (): void => {}

/** An accepted socket. */
export const ofSocket = (socket: net.Socket, events: TransportEvents): Transport => {
  socket.on("data", events.received)
  socket.on("error", ignore)
  return new SocketTransport(socket, events)
}

/**
 * After so many milliseconds without an answer, the kernel asks the peer's kernel each second
 * whether the connection is still there: a machine that has lost its power does not end it.
 */
const keepAliveInitialDelay = 1_000

/** Connects a socket; `failed` is called with the error if that fails. */
export const dial = (
  to: { readonly host: string; readonly port: number },
  events: TransportEvents & { readonly opened: () => void; readonly failed: (error: Error) => void }
): SocketTransport => {
  const callback = (length: number): boolean => {
    events.received(buffer.subarray(0, length))
    return true
  }
  const { host, port } = to
  const onread = { buffer, callback }
  const socket = net.connect({ host, port, onread, keepAlive: true, keepAliveInitialDelay })
  socket.on("connect", () => {
    socket.resume()
    events.opened()
  })
  socket.on("error", events.failed)
  return new SocketTransport(socket, events)
}

class LaneTransport implements Transport {
  readonly #lane: Lane

  constructor(lane: Lane, events: TransportEvents) {
    this.#lane = lane
    lane.onFrames((batch) => {
      for (let index = 0; index < batch.count; index++) events.received(batch.copy(index))
    })
    Effect.runFork(lane.closed).addObserver(() => events.closed())
  }

  get peer(): PeerInfo {
    return this.#lane.peer
  }

  end(bytes: Uint8Array): void {
    this.#lane.send(bytes)
    Effect.runFork(this.#lane.close)
  }

  abort(): void {
    Effect.runFork(this.#lane.abort)
  }
}

/** Wraps a lane; a peer that ends its side before the answer gets none. */
export const ofLane = (lane: Lane, events: TransportEvents): Transport =>
  new LaneTransport(lane, events)
