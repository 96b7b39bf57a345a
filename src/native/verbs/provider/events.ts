/** Events of a device, for the readers at that time. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Device, DeviceEvent } from "../Device.ts"

/** The most events that a reader may lag behind; the oldest are dropped first. */
const eventsBehindMax = 1024

/** The events of one open device. */
export interface Events {
  readonly emit: (event: DeviceEvent) => void
  readonly stream: Device["events"]
}

export const makeEvents: Effect.Effect<Events> = Effect.map(
  PubSub.sliding<DeviceEvent>(eventsBehindMax),
  (events) => ({
    emit: (event) => void PubSub.publishUnsafe(events, event),
    stream: Stream.takeUntil(Stream.fromPubSub(events), ({ _tag }) => _tag === "DeviceRemoved")
  })
)
