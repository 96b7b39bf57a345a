/**
 * Remote direct memory access behind one service, whatever moves the bytes.
 *
 * A device gives protection domains, regions of memory, completion queues and queue pairs, each a
 * resource of a Scope. Work is posted synchronously and ends once, with a completion. Queue pairs
 * are connected by the provider (`connect`, `listen`) or out of band, step by step.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Device, DeviceInfo } from "./Device.ts"
import type { DeviceOpenError, Unsupported } from "./VerbsError.ts"

/** In what providers differ. Code that needs one of these asks for it first. */
export interface Capabilities {
  readonly atomics: boolean
  readonly writeImmediate: boolean
  /** A peer's `send-invalidate` is obeyed. */
  readonly remoteInvalidate: boolean
  /**
   * A send or write ends when the peer's device has it, so its completion tells of the peer's
   * refusal. Without it, such work may end well although it fails; what follows is flushed.
   */
  readonly acknowledges: boolean
  /** A message without a posted receive is sent again. Without it, the connection ends. */
  readonly rnrRetries: boolean
}

/**
 * Where an open device is reached by TCP, and which addresses it deals with. A provider whose
 * connections are no TCP connections has no use for it.
 */
export interface Reach {
  /**
   * The address of this machine at which peers reach the device. Without a name, the device that
   * has it is opened; a device that has it uses no other one. Default: all addresses of the device.
   */
  readonly host?: string | undefined
  /**
   * Whether a peer at an address may connect, and may be connected to where only a peer has named
   * it. Default: every address.
   */
  readonly admits?: ((address: string) => boolean) | undefined
}

/** The operations of a provider. */
export interface Provider {
  readonly name: "sim" | "iwarp" | "ib"
  readonly capabilities: Capabilities
  readonly devices: Effect.Effect<ReadonlyArray<DeviceInfo>, Unsupported>
  /** Opens a device; the first one if neither a name is given nor an address that one has. */
  readonly open: (
    name?: string,
    reach?: Reach
  ) => Effect.Effect<Device, DeviceOpenError, Scope.Scope>
  /** Returns the name of the device that leads to a host, or undefined if none does. */
  readonly route: (host: string) => Effect.Effect<string | undefined>
}

/** RDMA devices. The layers are `handfast/verbs/Sim` and `handfast/verbs/Iwarp`. */
export class Verbs extends Context.Service<Verbs, Provider>()("handfast/native/verbs/Verbs") {}
