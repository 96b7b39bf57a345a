/** A device with its ports, and the resources that are created on it. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Gid } from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"
import type { CompletionQueue } from "./Completion.ts"
import type { Connector } from "./Connection.ts"
import type { Options as QueuePairOptions, QueuePair } from "./QueuePair.ts"
import type { Options as RegionOptions, Region } from "./Region.ts"
import type { CreateError, InvalidAttribute, Released } from "./VerbsError.ts"

/** The limits of a device. */
export interface DeviceLimits {
  readonly queuePairs: number
  /** Slots of one work queue. */
  readonly depth: number
  readonly scatterEntries: number
  readonly inlineBytes: number
  readonly completionQueues: number
  /** Slots of one completion queue. */
  readonly completions: number
  readonly regions: number
  /** Bytes of one region. */
  readonly regionBytes: number
  /** Bytes of one message. */
  readonly messageBytes: number
  /** Reads and atomic operations under way in one direction of a queue pair. */
  readonly reads: number
}

export interface DeviceInfo {
  readonly name: string
  /** Numbers of its ports, from 1. */
  readonly ports: ReadonlyArray<number>
  readonly limits: DeviceLimits
}

/** One of a port's identifiers. */
export interface GidEntry {
  readonly index: number
  readonly gid: Gid
  readonly type: "infiniband" | "roce-1" | "roce-2" | "iwarp"
  /** The network interface that it belongs to, if there is one. */
  readonly interface: string | undefined
}

/** A port as it is now. */
export interface PortInfo {
  readonly number: number
  readonly state: "active" | "down"
  readonly activeMtu: Mtu
  readonly lid: number
  /** Usable GIDs, in the order of their indices, which may have gaps. */
  readonly gids: ReadonlyArray<GidEntry>
}

/** Asynchronous events of a device. */
export type DeviceEvent =
  | { readonly _tag: "PortUp"; readonly port: number }
  | { readonly _tag: "PortDown"; readonly port: number }
  | { readonly _tag: "GidChanged"; readonly port: number; readonly index: number }
  | { readonly _tag: "DeviceRemoved" }
  /** A queue pair went to `err` for a reason that no completion reports. */
  | { readonly _tag: "QueuePairFatal"; readonly queuePair: number; readonly detail: string }

/** A protection domain: memory is only reached through queue pairs of the same domain. */
export interface ProtectionDomain {
  register(options: RegionOptions): Effect.Effect<Region, CreateError, Scope.Scope>
  queuePair(options: QueuePairOptions): Effect.Effect<QueuePair, CreateError, Scope.Scope>
}

/**
 * An open device. Resources are released in this order, in any order of closing Scopes:
 * connections, queue pairs, regions, completion queues, protection domains, the device.
 */
export interface Device extends Connector {
  readonly info: DeviceInfo
  port(number?: number): Effect.Effect<PortInfo, Released | InvalidAttribute>
  /** Events from the subscription on; read the ports after it. It ends after `DeviceRemoved`. */
  readonly events: Stream.Stream<DeviceEvent>
  readonly protectionDomain: Effect.Effect<ProtectionDomain, CreateError, Scope.Scope>
  completionQueue(capacity?: number): Effect.Effect<CompletionQueue, CreateError, Scope.Scope>
}
