/** Keeps the last events of each endpoint, to explain a broken promise. */
import * as Schema from "effect/Schema"
import { EndpointEvent } from "../../../actors/endpoint/EndpointEvent.ts"
import { idOf } from "../../../actors/endpoint/Endpoint.ts"
import type { Store } from "../../../actors/kernel/Journal.ts"
import type { EarlyPost } from "../../../native/sim/network.ts"

const decode = Schema.decodeUnknownSync(EndpointEvent)

const keys = {
  acknowledged: "it has the peer's acknowledgement",
  taken: "the peer took its acknowledgement",
  "no-gate": "the peer knows no gate",
  self: "it is its own peer",
  off: "the gate is off"
} as const

/** Describes an event. */
const textOf = (event: EndpointEvent): string => {
  switch (event._tag) {
    case "EpochBegan":
      return event.offer === undefined ? "begins to connect" : "begins with the peer's offer"
    case "GidRefused":
      return "tries another GID"
    case "QueuePairsCreated":
      return "has its queue pairs"
    case "OfferExchanged":
    case "OfferCrossed":
      return "knows the peer's queue pairs"
    case "CallBegan":
      return "calls the peer"
    case "CallReturned":
      return "has the result of its call"
    case "Connected":
      return event.key === undefined
        ? "has its queue pairs up, and waits for the peer"
        : `may send: ${keys[event.key]}`
    case "BecameReady":
      return `may send: ${keys[event.key]}`
    case "EpochEnded":
      return `has ended (${event.reason})`
  }
}

const pathOf = (device: string): string => device.replace("/", "@")

export class EndpointLog {
  readonly #now: () => number
  readonly #last = new Map<
    string,
    { readonly at: number; readonly type: string; readonly body: string }
  >()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Notes events that are written to a host's journal. */
  over(store: Store): Store {
    return {
      ...store,
      append: (append) => {
        const last = append.events.at(-1)
        if (last !== undefined) this.#last.set(append.actor, { ...last, at: this.#now() })
        return store.append(append)
      }
    }
  }

  /** The events that explain a message that came too early. */
  storyOf({ from, state, to }: EarlyPost): ReadonlyArray<string> {
    const [sender, receiver] = [pathOf(from), pathOf(to)]
    const both = [this.#lineOf(sender, receiver), this.#lineOf(receiver, sender)]
    const known = both.filter((line) => line !== undefined).toSorted((a, b) => a.at - b.at)
    const now = `${this.#now().toFixed(3)} ms: ${sender} sends to ${receiver}, which is in ${state}`
    return [...known.map(({ text }) => text), now]
  }

  #lineOf(local: string, peer: string): { readonly at: number; readonly text: string } | undefined {
    const last = this.#last.get(`Endpoint/${idOf(local, peer)}`)
    if (last === undefined) return undefined
    const { at, body, type } = last
    const event = decode({ ...(JSON.parse(body) as object), _tag: type })
    return { at, text: `${at.toFixed(3)} ms: ${local} towards ${peer}: ${textOf(event)}` }
  }
}
