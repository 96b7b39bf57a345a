/**
 * Remote direct memory access behind one service, with any provider.
 *
 * A device gives protection domains, regions of memory, completion queues and queue pairs, each a
 * resource of a Scope. Work is posted synchronously and ends once, with a completion. Queue pairs
 * are connected by the provider (`connect`, `listen`) or out of band, by single transitions.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Device, DeviceInfo } from "./Device.ts"
import type { DeviceOpenError, Unsupported } from "./VerbsError.ts"

/** The differences between providers. Code that needs one of these checks it first. */
export interface Capabilities {
  readonly atomics: boolean
  readonly writeImmediate: boolean
  /** Whether a peer's `send-invalidate` is obeyed. */
  readonly remoteInvalidate: boolean
  /**
   * A send or write ends when the peer's device has it, so its completion reports the peer's
   * refusal. Without it, such work may end with success although it fails; later work is flushed.
   */
  readonly acknowledges: boolean
  /** A message without a posted receive is sent again. Without it, the connection ends. */
  readonly rnrRetries: boolean
  /**
   * Keys of regions are random. Without it the device counts them up, and a peer that has one can
   * guess others: what a peer may not touch belongs into a protection domain of its own.
   */
  readonly randomKeys: boolean
}

/**
 * The TCP addresses of an open device, and those of peers that it accepts. Ignored by providers
 * that do not use TCP.
 */
export interface Reach {
  /**
   * The address of this machine at which peers reach the device. Without a name, the device that
   * has it is opened, and uses no other address. Default: all addresses of the device.
   */
  readonly host?: string | undefined
  /**
   * Whether a peer at an address, as `canonicalHost` writes it, may connect, and may be called if
   * only a peer has named it. Default: every address.
   */
  readonly admits?: ((address: string) => boolean) | undefined
}

/** The operations of a provider. */
export interface Provider {
  /** What errors call the provider. */
  readonly name: string
  readonly capabilities: Capabilities
  readonly devices: Effect.Effect<ReadonlyArray<DeviceInfo>, Unsupported>
  /** Opens a device by name or address; the first one if neither is given. */
  readonly open: (
    name?: string,
    reach?: Reach
  ) => Effect.Effect<Device, DeviceOpenError, Scope.Scope>
  /** Returns the name of the device that routes to a host, or undefined if none does. */
  readonly route: (host: string) => Effect.Effect<string | undefined>
}

/** RDMA devices. The layers are `handfast/verbs/Sim`, `handfast/verbs/Iwarp` and `Ib`. */
export class Verbs extends Context.Service<Verbs, Provider>()("handfast/native/verbs/Verbs") {}
