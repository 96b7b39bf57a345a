/**
 * Connection management: a connection made by the provider, with private data both ways.
 *
 * The other way is out of band: the peers exchange their queue pairs, GIDs and LIDs by another
 * handshake, and each takes its queue pair to `rtr` and `rts` by itself.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { QueuePair } from "./QueuePair.ts"
import type { AcceptError, ConnectError, ListenError, Released } from "./VerbsError.ts"

export interface Address {
  /** An IP address. */
  readonly host: string
  readonly port: number
}

/** The parameters of one end of a connection. */
export interface ConnectParams {
  /**
   * Data for the peer's program. Every provider has room for 56 bytes with a connect and for 196
   * with an accept, as InfiniBand has. Default: none.
   */
  readonly privateData?: Uint8Array | undefined
  /** Reads and atomic operations of the peer that may be under way here. Default 16. */
  readonly inboundReads?: number | undefined
  /** Reads and atomic operations of this side; the peer may lower it. Default 16. */
  readonly outboundReads?: number | undefined
  /** Times that the peer sends again when it meets no posted receive; 7 is for ever. Default 7. */
  readonly rnrRetries?: number | undefined
  /** Times that a message without an answer is sent again. Default 7. */
  readonly retries?: number | undefined
}

export interface ConnectOptions extends ConnectParams {
  readonly to: Address
  /** In `init`, so that receives are posted already. It goes to `rts` by the connection. */
  readonly queuePair: QueuePair
}

export interface AcceptOptions extends ConnectParams {
  /** In `init`, so that receives are posted already. It goes to `rts` by the connection. */
  readonly queuePair: QueuePair
}

/** How a connection ended. */
export type Disconnect = "disconnected" | "peer-disconnected" | "failed" | "device-removed"

/** A connection. It is disconnected when its Scope closes. */
export interface Connection {
  readonly peer: Address
  /** The private data of the peer's connect or accept. */
  readonly privateData: Uint8Array
  /** The negotiated limits. */
  readonly inboundReads: number
  readonly outboundReads: number
  /** Ends it: both queue pairs go to `err`. Idempotent. */
  readonly disconnect: Effect.Effect<void>
  /** Waits for the end. */
  readonly disconnected: Effect.Effect<Disconnect>
}

/**
 * A peer's request to connect. It is answered once; without an answer, it is rejected when the
 * listener closes or the time for an answer is over.
 */
export interface ConnectRequest {
  readonly peer: Address
  readonly privateData: Uint8Array
  /** Reads and atomic operations of the peer that may be under way here. */
  readonly inboundReads: number
  /** Reads and atomic operations of this side that the peer allows. */
  readonly outboundReads: number
  /**
   * Returns when the peer has the answer, so that it is ready. Fails without an answer if the queue
   * pair or the parameters do not fit; the request may then still be accepted or rejected.
   */
  accept(options: AcceptOptions): Effect.Effect<Connection, AcceptError, Scope.Scope>
  /** Rejects, with up to 148 bytes of private data. */
  reject(privateData?: Uint8Array): Effect.Effect<void>
}

export interface ListenOptions {
  /** Default: all addresses of the device, also later ones. */
  readonly host?: string | undefined
  /** 0 draws a free port. Default 0. */
  readonly port?: number | undefined
  /** Requests that may wait for `take`; more are rejected. Default 128, as in sockets. */
  readonly backlog?: number | undefined
}

export interface Listener {
  readonly address: Address
  /** The next request. */
  readonly take: Effect.Effect<ConnectRequest, Released>
}

/** Connection management of a device. */
export interface Connector {
  listen(options?: ListenOptions): Effect.Effect<Listener, ListenError, Scope.Scope>
  connect(options: ConnectOptions): Effect.Effect<Connection, ConnectError, Scope.Scope>
}
