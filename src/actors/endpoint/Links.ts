/** Source of ready links for a transfer engine: endpoints and their handshakes. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Nic } from "../rdma/Nic.ts"
import type { ReadyLink } from "./ReadyLink.ts"

/** Why there is no link. For messages only: the caller acts the same for each reason. */
export interface LinkFailure {
  readonly _tag: string
  readonly message: string
}

/** Opens, reports and retires links. */
export class Links extends Context.Service<
  Links,
  {
    /**
     * Opens a ready link from a local NIC to a peer's (`server@nic`). Joins the attempt that is
     * under way, or makes one.
     */
    readonly open: (nic: Nic, peer: string) => Effect.Effect<ReadyLink, LinkFailure>
    /**
     * Called with each link of all NICs that has become ready, also with those that peers opened,
     * and those of a NIC that has returned after its removal.
     */
    readonly listen: (
      listener: (link: ReadyLink) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /** Retires a link on which work has failed: nothing more may be posted on it. */
    readonly retire: (link: ReadyLink, reason: string) => void
  }
>()("handfast/actors/endpoint/Links") {}
