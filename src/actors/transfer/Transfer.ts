/** Requests of transfers, and their results. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Piece } from "../rdma/Memory.ts"
import type { TransferFailed } from "./TransferError.ts"

/** A range in a peer's memory: an address as the peer describes it, or a named buffer. */
export type Target =
  | { readonly address: number }
  | { readonly buffer: string; readonly offset?: number }

/** One range to move, of the length of the local piece. */
export type Operation =
  | { readonly op: "write"; readonly from: Piece; readonly to: Target }
  | { readonly op: "read"; readonly from: Target; readonly to: Piece }

/**
 * The operations of a transfer. They have no order among them. A peer that has just started may
 * not have registered its memory yet: then this fails with `InvalidTransfer`, whose `lacks` is
 * `peer-memory`, and a durable transfer waits.
 */
export interface Request {
  /** The peer's name in the directory. */
  readonly peer: string
  readonly ops: ReadonlyArray<Operation>
  /**
   * The time for all of it. Default: none. A transfer ends without it, too: a peer that cannot be
   * reached is given up, and so is a slice that failed too often.
   */
  readonly within?: Duration.Input | undefined
  /**
   * What happens when the peer replaces memory that holds a part of this transfer: its process
   * restarts, or it registers memory of that name again. Default `"begin-anew"`: all of it moves
   * once more, until its deadline; `"fail"` ends it with `peer-memory-replaced`.
   */
  readonly onReplaced?: "begin-anew" | "fail" | undefined
}

/**
 * A transfer that survives its process, and outages of its peer, see `Transfers`: it ends before
 * all of it has moved only by its deadline, or because the request can never be fulfilled. Local
 * and remote memory are given by their names; it waits for missing memory.
 */
export interface DurableRequest extends Pick<Request, "peer" | "ops"> {
  readonly durable: true
  /** One id is one transfer, however often it is submitted. */
  readonly id: string
  /**
   * The time for all of it, from its acceptance on, across restarts of the process. The first
   * submission of an id decides. Default: that of the engine, see `Transfers`.
   */
  readonly within?: Duration.Input | undefined
}

/** Progress of a transfer. */
export const Moved = Schema.Struct({
  /** Bytes that moved. */
  moved: Schema.Int,
  /** Bytes of the whole. */
  bytes: Schema.Int
})

export type Moved = typeof Moved.Type

/** A transfer that was accepted. It ends once. */
export interface Transfer {
  readonly done: Effect.Effect<Moved, TransferFailed>
  /**
   * Bytes that have moved, now and after each change; a slow reader sees fewer of the changes. It
   * falls to 0 when a transfer begins anew.
   */
  readonly progress: Stream.Stream<Moved>
}
