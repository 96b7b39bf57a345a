/** Where an engine gets its ready links from: whoever keeps the endpoints and their handshakes. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Nic } from "../rdma/Nic.ts"
import type { ReadyLink } from "./ReadyLink.ts"

/** Why there is no link. For messages: what to do next does not depend on it. */
export interface LinkFailure {
  readonly _tag: string
  readonly message: string
}

/** The service. */
export class Links extends Context.Service<
  Links,
  {
    /**
     * A ready link from an own card to a peer's (`server@nic`). It joins an attempt that is under
     * way, and makes one attempt if there is none.
     */
    readonly open: (nic: Nic, peer: string) => Effect.Effect<ReadyLink, LinkFailure>
    /**
     * Told of each link of all cards that has become ready, also of those that peers have opened,
     * and of a card that was gone and is back.
     */
    readonly listen: (
      listener: (link: ReadyLink) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /** The link's own work told of a fault: nothing more may be posted on it. */
    readonly retire: (link: ReadyLink, reason: string) => void
  }
>()("handfast/actors/endpoint/Links") {}
