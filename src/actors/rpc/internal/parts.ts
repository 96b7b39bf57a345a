/** The parts of clients and servers that simulations replace by known-bad ones. */
import * as Context from "effect/Context"
import { ReplyCache } from "./replyCache.ts"
import { Requester } from "./requester.ts"
import type { Surroundings } from "./surroundings.ts"
import { Responder, type ResponderOptions } from "./responder.ts"

export interface Parts {
  readonly requester: (around: Surroundings) => Requester
  readonly responder: (options: ResponderOptions) => Responder
  readonly Cache: typeof ReplyCache
}

export const parts: Parts = {
  requester: (around) => new Requester(around),
  responder: (options) => new Responder(options),
  Cache: ReplyCache
}

/** Read once, when a client or a server is made. */
export const Parts = Context.Reference<Parts>("handfast/actors/rpc/Parts", {
  defaultValue: () => parts
})
