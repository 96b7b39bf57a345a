/** How a generation is given up, and who hears of it. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { DeviceEvent } from "../../../native/verbs/Device.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Gid } from "../../../schema/Gid.ts"
import type { Endpoint } from "../Endpoint.ts"
import type { EndReason } from "../EndpointEvent.ts"
import type { Farewell, Handshakes } from "../Handshake.ts"
import type { Nic } from "../Nic.ts"

/** For a farewell. A peer that does not answer is gone, or will find out. */
const farewellWithin = "5 seconds"

export type Retire = (
  spawning: Fiber.Fiber<Endpoint, unknown>,
  what: { readonly epoch: Epoch; readonly reason: EndReason; readonly detail: string }
) => Effect.Effect<void>

/** A peer is told once, beside everything else: it would also find out by itself. */
export const retireWith =
  (handshakes: typeof Handshakes.Service): Retire =>
  (spawning, what) => {
    const leave = (farewell: Farewell) =>
      Effect.forkDetach(
        Effect.ignore(Effect.timeout(handshakes.farewell(farewell), farewellWithin))
      )
    return Fiber.join(spawning).pipe(
      Effect.flatMap(({ ask }) => ask.Retire(what)),
      Effect.flatMap((farewell) => (farewell === undefined ? Effect.void : leave(farewell))),
      // What has ended needs no end.
      Effect.ignore
    )
  }

/** What an event of the device means for its endpoints. */
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
 * Reads what happens to a card, and has endpoints retired: all, or those whose GID its port does
 * not have any more.
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
