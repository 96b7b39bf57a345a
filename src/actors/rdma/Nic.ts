/**
 * A local NIC as endpoints use it: one open device, one protection domain, one completion queue,
 * and the path by which peers know it. The path stays; the others are lost with their device.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CompletionQueue } from "../../native/verbs/Completion.ts"
import type { Device, DeviceEvent, ProtectionDomain } from "../../native/verbs/Device.ts"
import type { CreateError, DeviceOpenError } from "../../native/verbs/VerbsError.ts"
import { type Reach, Verbs } from "../../native/verbs/Verbs.ts"
import type { Gid } from "../../schema/Gid.ts"
import type { Place } from "./internal/gidSelection.ts"
import { open as openNic } from "./internal/nicLifecycle.ts"

export type { Place }

export interface Nic {
  /** `server@nic`. */
  readonly path: string
  /** The open device. After its removal and return it is another object. */
  readonly device: Device
  readonly domain: ProtectionDomain
  readonly completions: CompletionQueue
  /** Events of the NIC, across losses of its device. The stream does not end. */
  readonly events: Stream.Stream<DeviceEvent>
  /** Done when the open device has been lost and opened again. */
  readonly reopened: Effect.Effect<void>
  /** Whether the completion of a write means that the peer has it, see `Capabilities`. */
  readonly acknowledges: boolean
  /** Reads the port; its GID can change. */
  readonly place: Effect.Effect<Place, CreateError>
  /** The same, by another GID than these if there is one. */
  readonly placeWithout: (refused: ReadonlyArray<Gid>) => Effect.Effect<Place, CreateError>
}

export interface Options {
  readonly path: string
  /** The device's name. Default: the first one. */
  readonly device?: string | undefined
  /** Addresses to listen at, and peers to accept. Default: all addresses, all peers. */
  readonly reach?: Reach | undefined
  /** Completions that may wait, over all endpoints. Default 4096, as transfer engines use. */
  readonly completions?: number | undefined
  /**
   * The index of the only GID to use. Default: the port's likeliest, and another one if the device
   * refuses it.
   */
  readonly gidIndex?: number | undefined
  /** Milliseconds between two attempts to reopen a lost device. Default 1 s: each is cheap. */
  readonly reopenEveryMs?: number | undefined
  /**
   * Milliseconds until a lost device is given up. Default 10 min, many times the restart of a
   * driver: a device that stays away longer was removed, and the program has to know.
   */
  readonly reopenWithinMs?: number | undefined
}

/** Opens a NIC. If its device is removed and returns, it is opened again. */
export const open = Effect.fnUntraced(function* ({
  completions = 4096,
  device,
  gidIndex,
  reopenEveryMs = 1_000,
  reopenWithinMs = 600_000,
  path,
  reach = {}
}: Options): Effect.fn.Return<Nic, DeviceOpenError | CreateError, Scope.Scope | Verbs> {
  const verbs = yield* Verbs
  return yield* openNic(verbs, device, {
    completions,
    gidIndex,
    reopenEveryMs,
    reopenWithinMs,
    path,
    reach
  })
})
