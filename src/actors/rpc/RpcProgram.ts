/** A program as a server offers it: procedures by number, with arguments and results in XDR. */

import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Auth } from "../../schema/rpc/RpcMessage.ts"
import type { Range } from "./internal/planning.ts"

/** A call as a handler sees it. */
export interface ProcedureCall {
  /** The arguments in XDR. They do not change. */
  readonly args: Uint8Array
  /** Who calls, as `admit` named the peer of the connection. */
  readonly principal: string
  /** What the caller claims. AUTH_SYS is a claim that nothing proves. */
  readonly credential: Auth
}

/** What a handler returns. */
export interface ProcedureReply {
  /** The results in XDR. They must not change any more. */
  readonly results: Uint8Array
  /** Opaque data in the results that may be written into the caller's memory. */
  readonly bulk?: ReadonlyArray<Range> | undefined
}

/** The arguments do not parse. */
export class GarbageArgs extends Data.TaggedError("GarbageArgs") {}

export interface Procedure {
  /** A defect of it is answered as SYSTEM_ERR. */
  readonly handler: (call: ProcedureCall) => Effect.Effect<ProcedureReply, GarbageArgs>
  /**
   * It may be executed twice without harm, so its replies are not kept. Default: false, and a call
   * is executed at most once.
   */
  readonly isIdempotent?: boolean | undefined
}

export interface Program {
  readonly program: number
  readonly version: number
  /** Procedure 0 is NULL, which every program has. */
  readonly procedures: Readonly<Record<number, Procedure>>
}
