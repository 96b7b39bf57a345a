/**
 * One session of a client at a server: requests that have not ended, and the order of events.
 *
 * Each request has a queue of its own, since its consumer may be slow: what waits there holds no
 * credit, and nothing of other requests.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { RpcClientError } from "effect/rpc/RpcClientError"
import type { Event } from "./messages.ts"

/** A message to be delivered: in hand, or to be fetched first. */
export type Delivery = Pick<Event, "number" | "body">

export interface Pending {
  /** The client of `effect/rpc` that made the request. */
  readonly clientId: number
  /** Whether the server has it, so that its outcome would be unknown without the session. */
  isStarted: boolean
  readonly deliveries: Array<Delivery>
  isDelivering: boolean
}

export class ClientSession {
  readonly id: Uint8Array
  /** Done when the server knows the session. */
  readonly opened = Deferred.makeUnsafe<void, RpcClientError>()
  readonly pending = new Map<string, Pending>()
  /** The first event that has not come. */
  from = 0n
  isOver = false
  isOpen = false
  /** Events that were announced and are not needed any more. */
  readonly done = new Set<bigint>()

  constructor(id: Uint8Array) {
    this.id = id
  }

  /** Clients with a request that the server has had. */
  get startedClients(): ReadonlySet<number> {
    const started = [...this.pending.values()].filter(({ isStarted }) => isStarted)
    return new Set(started.map(({ clientId }) => clientId))
  }

  begin(request: string, clientId: number): Pending {
    const pending: Pending = {
      clientId,
      isStarted: false,
      deliveries: [],
      isDelivering: false
    }
    this.pending.set(request, pending)
    return pending
  }

  /** A request needs nothing any more. False if there is none of that name. */
  end(request: string): boolean {
    for (const { body, number } of this.pending.get(request)?.deliveries ?? []) {
      if (body._tag === "Announced") this.done.add(number)
    }
    return this.pending.delete(request)
  }

  /** Takes the events that are new, in order. */
  take(events: ReadonlyArray<Event>): ReadonlyArray<Event> {
    const fresh = events.filter(({ number }) => number >= this.from)
    for (const { body, number, request } of fresh) {
      this.from = number + 1n
      const isWanted = request === "" || this.pending.has(request)
      if (body._tag === "Announced" && !isWanted) this.done.add(number)
    }
    return fresh
  }

  /** Delivers what waits for a request, one after the other; anything that comes meanwhile too. */
  deliver(
    pending: Pending,
    deliver: (delivery: Delivery) => Effect.Effect<void>
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (pending.isDelivering) return Effect.void
      pending.isDelivering = true
      // It ends in the same turn as it is seen to end, so that the next event begins another one.
      const isWanted = () => (pending.isDelivering = pending.deliveries.length > 0)
      return Effect.whileLoop({
        while: isWanted,
        body: () => deliver(pending.deliveries.shift()!),
        step: () => undefined
      })
    })
  }
}
