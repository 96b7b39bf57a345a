/**
 * A local network card as endpoints use it: one open device, one protection domain, one completion
 * queue, and the path under which peers know it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CompletionQueue } from "../../native/verbs/Completion.ts"
import type { Device, ProtectionDomain } from "../../native/verbs/Device.ts"
import {
  type CreateError,
  InvalidAttribute,
  type OpenError
} from "../../native/verbs/VerbsError.ts"
import { Verbs } from "../../native/Verbs.ts"
import * as Gid from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"
import { inOrder } from "./internal/gids.ts"

/**
 * The port as it is now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly gid: Gid.Gid
  readonly gidIndex: number
  readonly lid: number
  readonly mtu: Mtu
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Nic {
  /** `server@nic`. */
  readonly path: string
  readonly device: Device
  readonly domain: ProtectionDomain
  readonly completions: CompletionQueue
  /** Whether the end of a write says that the peer has it, see `Capabilities`. */
  readonly acknowledges: boolean
  /** Looks at the port; its GID can change. */
  readonly place: Effect.Effect<Place, CreateError>
  /** The same, by another GID than these if there is one. */
  readonly placeWithout: (refused: ReadonlyArray<Gid.Gid>) => Effect.Effect<Place, CreateError>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly path: string
  /** The device's name. Default: the first one. */
  readonly device?: string | undefined
  /** Completions that may wait, over all endpoints. Default 4096, what transfer engines use. */
  readonly completions?: number | undefined
  /**
   * The index of the GID to use, and no other one. Default: the likeliest of the port, and another
   * one if the device refuses it.
   */
  readonly gidIndex?: number | undefined
}

/**
 * Opens a card.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = Effect.fnUntraced(function* ({
  completions = 4096,
  device: name,
  gidIndex,
  path
}: Options): Effect.fn.Return<Nic, OpenError | CreateError, Scope.Scope | Verbs> {
  const verbs = yield* Verbs
  const device = yield* verbs.open(name)
  const domain = yield* device.protectionDomain
  const queue = yield* device.completionQueue(completions)
  const { acknowledges } = verbs.capabilities
  const placeWithout: Nic["placeWithout"] = (refused) => placeOf(device, gidIndex, refused)
  const place = placeWithout([])
  return { path, device, domain, completions: queue, acknowledges, place, placeWithout }
})

const placeOf = Effect.fnUntraced(function* (
  device: Device,
  gidIndex: number | undefined,
  refused: ReadonlyArray<Gid.Gid>
): Effect.fn.Return<Place, CreateError> {
  const { activeMtu: mtu, gids, lid } = yield* device.port()
  if (gidIndex !== undefined) {
    const found = gids.find(({ index }) => index === gidIndex)
    if (found !== undefined) return { gid: found.gid, gidIndex, lid, mtu }
    const detail = `the port has no GID ${gidIndex} now`
    return yield* new InvalidAttribute({ operation: "port", attribute: "gidIndex", detail })
  }
  const all = inOrder(gids)
  const { gid = Gid.nowhere, index = 0 } =
    all.find(({ gid }) => !refused.includes(gid)) ?? all[0] ?? {}
  return { gid, gidIndex: index, lid, mtu }
})
