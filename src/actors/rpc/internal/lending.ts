/** Memory that calls lend to the responder. */
import * as Effect from "effect/Effect"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import { copyBytes } from "../../../schema/copyBytes.ts"
import type { LoanTooLarge, PoolShare } from "../../rdma/RegionPool.ts"
import { type Lent, loansOf, nothingLent } from "./callQueue.ts"
import { type CallPlan, lendsNothing } from "./planning.ts"

/** Borrows what a call needs, all at once, with what the responder is to read. */
export const borrow = (
  plan: CallPlan,
  share: PoolShare
): Effect.Effect<Lent, LoanTooLarge | CreateError> => {
  if (lendsNothing(plan)) return Effect.succeed(nothingLent)
  const { reads, reply, writes } = plan
  const wants = [
    ...reads.map(({ bytes }) => ({ use: "peer-reads" as const, bytes: bytes.length })),
    ...writes.map((bytes) => ({ use: "peer-writes" as const, bytes })),
    ...(reply === undefined ? [] : [{ use: "peer-writes" as const, bytes: reply }])
  ]
  return Effect.map(share.lendAll(wants), (loans) => {
    for (const [index, { bytes }] of reads.entries()) {
      copyBytes(loans[index]!.bytes, 0, bytes, 0, bytes.length)
    }
    const end = reads.length + writes.length
    return {
      share,
      reads: loans.slice(0, reads.length),
      writes: loans.slice(reads.length, end),
      reply: loans[end]
    }
  })
}

/** Draws keys for another connection. False if one of the older keys cannot be voided. */
export const renew = (lent: Lent): Effect.Effect<boolean> =>
  Effect.map(
    Effect.forEach(loansOf(lent), ({ renew }) => renew),
    (renewed) => renewed.every((isRenewed) => isRenewed)
  )
