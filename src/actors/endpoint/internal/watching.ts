/** Events of a NIC, and the endpoints that they end. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { DeviceEvent } from "../../../native/verbs/Device.ts"
import type { Gid } from "../../../schema/Gid.ts"
import type { Nic } from "../../rdma/Nic.ts"

/** Why the endpoints of the device are lost by an event; undefined if they are not. */
const lossOf = (event: DeviceEvent): string | undefined => {
  switch (event._tag) {
    case "PortDown":
      return `port ${event.port} is down`
    case "GidChanged":
      return `port ${event.port} has another GID`
    case "DeviceRemoved":
      return "the device was removed"
    default:
      return undefined
  }
}

const gidsOf = ({ device }: Nic): Effect.Effect<ReadonlySet<Gid>> =>
  Effect.match(device.port(), {
    onSuccess: ({ gids }) => new Set(gids.map(({ gid }) => gid)),
    onFailure: () => new Set<Gid>()
  })

/**
 * Reads the events of a NIC, and retires its endpoints: all, or those whose GID the port no longer
 * has.
 */
export const watch = (
  nic: Nic,
  retire: (detail: string, kept: ReadonlySet<Gid>) => Effect.Effect<void>
): Effect.Effect<void> =>
  Stream.runForEach(nic.events, (event) => {
    const detail = lossOf(event)
    if (detail === undefined) return Effect.void
    const kept = event._tag === "GidChanged" ? gidsOf(nic) : Effect.succeed(new Set<Gid>())
    return Effect.flatMap(kept, (gids) => retire(detail, gids))
  })
