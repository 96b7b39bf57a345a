/** Why transfers of an engine end before all has moved. */
import * as Duration from "effect/Duration"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import { TransferFailed } from "../TransferError.ts"
import type { Plan, Stop } from "./job.ts"
import { Copied } from "./local.ts"

/** The most operations that an error names. */
export const namedOperations = 64

export const formatted = (duration: Duration.Input): string =>
  Duration.format(Duration.fromInputUnsafe(duration))

export const closed: Stop = { reason: "closed", detail: "the engine has ended" }
export const cancelled: Stop = { reason: "cancelled", detail: "nobody waits for it any more" }

export const released = ({ name }: RegisteredMemory): Stop => ({
  reason: "memory-released",
  detail: `${name} was released`
})

const none = { moved: 0, bytes: 0, unfinished: [] }

/** Of a transfer that was not admitted. */
export const countsOf = (plans: ReadonlyArray<Plan>, { moved, operations } = new Copied()) => ({
  moved,
  bytes: plans.reduce((sum, { length }) => sum + length, 0),
  unfinished: [...plans.keys()].slice(operations, operations + namedOperations)
})

export const failure = (
  peer: string,
  { detail, fault, reason }: Stop,
  counts: Pick<TransferFailed, "moved" | "bytes" | "unfinished"> = none
): TransferFailed => new TransferFailed({ peer, reason, ...counts, detail, fault })
