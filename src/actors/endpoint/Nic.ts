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
import type { CreateError, InvalidAttribute, OpenError } from "../../native/verbs/VerbsError.ts"
import { Verbs } from "../../native/Verbs.ts"
import type { Gid } from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"

/**
 * The port as it is now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly gid: Gid
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
  path
}: Options): Effect.fn.Return<Nic, OpenError | CreateError, Scope.Scope | Verbs> {
  const verbs = yield* Verbs
  const device = yield* verbs.open(name)
  const domain = yield* device.protectionDomain
  const queue = yield* device.completionQueue(completions)
  const { acknowledges } = verbs.capabilities
  return { path, device, domain, completions: queue, acknowledges, place: placeOf(device) }
})

const placeOf = (device: Device): Effect.Effect<Place, CreateError | InvalidAttribute> =>
  Effect.map(device.port(), ({ activeMtu, gids, lid }) => {
    const [first] = gids
    return {
      gid: first?.gid ?? ("0".repeat(32) as Gid),
      gidIndex: first?.index ?? 0,
      lid,
      mtu: activeMtu
    }
  })
