/** How a generation is given up, and who hears of it. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { DeviceEvent } from "../../../native/verbs/Device.ts"
import type { Epoch } from "../../../schema/Epoch.ts"
import type { Endpoint } from "../Endpoint.ts"
import type { EndReason } from "../EndpointEvent.ts"
import type { Farewell, Handshakes } from "../Handshake.ts"

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

/** What an event of the device means for all of its endpoints, which use one of its GIDs. */
export const lossOf = (event: DeviceEvent, gidInUse: number): string | undefined => {
  switch (event._tag) {
    case "PortDown":
      return `port ${event.port} is down`
    case "GidChanged":
      return event.index === gidInUse ? `port ${event.port} has another GID` : undefined
    case "DeviceRemoved":
      return "the device was removed"
    default:
      return undefined
  }
}
