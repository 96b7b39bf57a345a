/**
 * Known defects of the gate, planted around a host's endpoints: their messages pass through here. A
 * simulation that does not find them proves nothing.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { EndpointStore, Reception } from "../../../actors/endpoint/EndpointStore.ts"
import { type Acknowledgement, Handshakes } from "../../../actors/endpoint/Handshake.ts"

export const plants = ["ready-without-looking", "unbound-acknowledgement"] as const

/**
 * - `ready-without-looking`: the answer to an acknowledgement opens the gate of the connection that
 *   exists by then, as in the first repair of the original race.
 * - `unbound-acknowledgement`: an acknowledgement counts for any queue pairs.
 */
export type Plant = (typeof plants)[number]

/** The wrappers around the endpoints of one life of a host. */
export interface Planting {
  readonly handshakes: (layer: Layer.Layer<Handshakes>) => Layer.Layer<Handshakes>
  readonly reception: (path: string, store: EndpointStore) => Reception
}

/** An acknowledgement that fits the present connection of an endpoint, if it waits for one. */
const fitting = (store: EndpointStore, from: string, to: string) =>
  Effect.map(store.stateOf(from), (state): Acknowledgement | undefined =>
    state._tag === "AwaitingReadyAck"
      ? { from, to, half: state.peer.half, knows: state.own.epoch }
      : undefined
  )

export const planting = (plant: Plant | undefined): Planting => {
  const stores = new Map<string, EndpointStore>()
  const openAnyway = (from: string, to: string) =>
    Effect.gen(function* () {
      const store = stores.get(to)
      const ack = store === undefined ? undefined : yield* fitting(store, from, to)
      if (ack !== undefined) yield* store!.takeAcknowledgement(ack)
    })
  const takeAny = (store: EndpointStore): Reception => ({
    takeOffer: (offer, isAuthenticated) => store.takeOffer(offer, isAuthenticated),
    takeFarewell: (farewell) => store.takeFarewell(farewell),
    takeAcknowledgement: (ack) =>
      Effect.flatMap(fitting(store, ack.from, ack.to), (fits = ack) =>
        store.takeAcknowledgement(fits)
      )
  })
  const hasty = ({ acknowledge, ...others }: Handshakes["Service"]): Handshakes["Service"] => ({
    ...others,
    acknowledge: (ack) =>
      acknowledge(ack).pipe(
        Effect.tap(Effect.ignore(openAnyway(ack.to, ack.from))),
        Effect.forkDetach,
        // A caller that stops waiting for the answer does not interrupt the call.
        Effect.flatMap(Fiber.join)
      )
  })
  return {
    handshakes: (layer) =>
      plant === "ready-without-looking"
        ? Layer.effect(Handshakes, Effect.map(Handshakes, hasty)).pipe(Layer.provide(layer))
        : layer,
    reception: (path, store) => {
      stores.set(path, store)
      return plant === "unbound-acknowledgement" ? takeAny(store) : store
    }
  }
}
