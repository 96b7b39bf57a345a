/** One side of a connection: the other side's parameters, and its end. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Address, Connection, Disconnect, ConnectParams } from "../Connection.ts"
import { defaults } from "../QueuePairState.ts"
import { Resource } from "./resources.ts"
import type { ConnectableQueuePair, AttachedConnection } from "./transitions.ts"

/** One side's parameters, with all defaults filled in. */
export type ResolvedConnectParams = {
  readonly [K in keyof ConnectParams]-?: NonNullable<ConnectParams[K]>
}

export const noBytes = new Uint8Array(0)

export const resolveConnectParams = (terms: ConnectParams): ResolvedConnectParams => ({
  privateData: terms.privateData?.slice() ?? noBytes,
  inboundReads: terms.inboundReads ?? defaults.inboundReads,
  outboundReads: terms.outboundReads ?? defaults.outboundReads,
  rnrRetries: terms.rnrRetries ?? defaults.rnrRetries,
  retries: terms.retries ?? defaults.retries
})

/** A connection, from its attempt to its end. */
export class ProviderConnection<Pair extends ConnectableQueuePair = ConnectableQueuePair>
  implements Connection, AttachedConnection
{
  readonly queuePair: Pair
  readonly peer: Address
  privateData: Uint8Array = noBytes
  inboundReads = 0
  outboundReads = 0
  readonly resource: Resource
  readonly disconnect = Effect.sync(() => this.finish("disconnected"))
  readonly disconnected: Effect.Effect<Disconnect>
  readonly #end = Deferred.makeUnsafe<Disconnect>()

  constructor(queuePair: Pair, peer: Address) {
    this.queuePair = queuePair
    this.peer = peer
    this.disconnected = Deferred.await(this.#end)
    this.resource = new Resource("connection", [queuePair.resource], () =>
      this.finish("disconnected")
    )
    queuePair.connection = this
  }

  get hasEnded(): boolean {
    return this.queuePair.connection !== this
  }

  /** Called when the parameters are negotiated. */
  setNegotiated(said: Pick<Connection, "privateData" | "inboundReads" | "outboundReads">): void {
    this.privateData = said.privateData
    this.inboundReads = said.inboundReads
    this.outboundReads = said.outboundReads
  }

  finish(why: Disconnect): void {
    if (!this.hasEnded) this.queuePair.fail(why)
  }

  onLeft(why: Disconnect): void {
    Deferred.doneUnsafe(this.#end, Effect.succeed(why))
  }
}
