/** Source of ready links for a transfer engine: endpoints and their handshakes. */
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
     * A ready link from a local NIC to a peer's (`server@nic`). It joins an attempt that is under
     * way, and makes one attempt if there is none.
     */
    readonly open: (nic: Nic, peer: string) => Effect.Effect<ReadyLink, LinkFailure>
    /**
     * Called with each link of all NICs that has become ready, also with those that peers opened,
     * and those of a NIC that was gone and is back.
     */
    readonly listen: (
      listener: (link: ReadyLink) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /** Work on the link showed a fault: nothing more may be posted on it. */
    readonly retire: (link: ReadyLink, reason: string) => void
  }
>()("handfast/actors/endpoint/Links") {}
