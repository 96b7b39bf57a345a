/** One side of a connection: what it knows of the other, and its end. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Address, Connection, Disconnect, Terms } from "../Connection.ts"
import { defaults } from "../QueuePairState.ts"
import { Holding } from "./resources.ts"
import type { Connectable, Joined } from "./transitions.ts"

/** What one side wants, with all defaults filled in. */
export type Wishes = { readonly [K in keyof Terms]-?: NonNullable<Terms[K]> }

export const nothing = new Uint8Array(0)

export const wishesOf = (terms: Terms): Wishes => ({
  privateData: terms.privateData?.slice() ?? nothing,
  inboundReads: terms.inboundReads ?? defaults.inboundReads,
  outboundReads: terms.outboundReads ?? defaults.outboundReads,
  rnrRetries: terms.rnrRetries ?? defaults.rnrRetries,
  retries: terms.retries ?? defaults.retries
})

/** A connection that is being made, then is there, then has ended. */
export class SoftConnection<Pair extends Connectable = Connectable> implements Connection, Joined {
  readonly queuePair: Pair
  readonly peer: Address
  privateData: Uint8Array = nothing
  inboundReads = 0
  outboundReads = 0
  readonly holding: Holding
  readonly disconnect = Effect.sync(() => this.finish("disconnected"))
  readonly disconnected: Effect.Effect<Disconnect>
  readonly #end = Deferred.makeUnsafe<Disconnect>()

  constructor(queuePair: Pair, peer: Address) {
    this.queuePair = queuePair
    this.peer = peer
    this.disconnected = Deferred.await(this.#end)
    this.holding = new Holding("connection", [queuePair.holding], () => this.finish("disconnected"))
    queuePair.connection = this
  }

  get hasEnded(): boolean {
    return this.queuePair.connection !== this
  }

  /** What both sides agreed upon is known. */
  know(said: Pick<Connection, "privateData" | "inboundReads" | "outboundReads">): void {
    this.privateData = said.privateData
    this.inboundReads = said.inboundReads
    this.outboundReads = said.outboundReads
  }

  finish(why: Disconnect): void {
    if (!this.hasEnded) this.queuePair.fail(why)
  }

  left(why: Disconnect): void {
    Deferred.doneUnsafe(this.#end, Effect.succeed(why))
  }
}
