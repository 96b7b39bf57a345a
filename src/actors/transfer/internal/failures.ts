/** Reasons why transfers of an engine end before all has moved. */
import * as Duration from "effect/Duration"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import { TransferFailed } from "../TransferError.ts"
import type { CheckedOperation, StopReason } from "./job.ts"
import { Copied } from "./local.ts"

/** The most operations that an error names. */
export const namedOperations = 64

export const formatted = (duration: Duration.Input): string =>
  Duration.format(Duration.fromInputUnsafe(duration))

export const closed: StopReason = { reason: "closed", detail: "the engine has ended" }
export const cancelled: StopReason = { reason: "cancelled", detail: "its caller was interrupted" }

export const released = ({ name }: RegisteredMemory): StopReason => ({
  reason: "memory-released",
  detail: `${name} was released`
})

const none = { moved: 0, bytes: 0, unfinished: [] }

/** Counts of a transfer that was not admitted. */
export const countsOf = (
  plans: ReadonlyArray<CheckedOperation>,
  { moved, operations } = new Copied()
) => ({
  moved,
  bytes: plans.reduce((sum, { length }) => sum + length, 0),
  unfinished: [...plans.keys()].slice(operations, operations + namedOperations)
})

export const failure = (
  peer: string,
  { detail, fault, reason }: StopReason,
  counts: Pick<TransferFailed, "moved" | "bytes" | "unfinished"> = none
): TransferFailed => new TransferFailed({ peer, reason, ...counts, detail, fault })
