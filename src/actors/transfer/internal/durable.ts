/** Converts requests to the names under which a journal keeps them, and moves what is named. */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Memory } from "../../rdma/Memory.ts"
import type { DurableRequest, Moved, Operation, Request } from "../Transfer.ts"
import { InvalidTransfer, type TransferError, TransferFailed } from "../TransferError.ts"
import { Named, type NamedOperation } from "../Transfers.ts"
import { namedOperations } from "./failures.ts"
import { millisOf, noTime } from "./requestValidation.ts"
import { Backoff, type BackoffSettings } from "../../link/Backoff.ts"

const decode = Schema.decodeUnknownEffect(Named)

const nameOf = (operation: Operation): NamedOperation | undefined => {
  const { op } = operation
  const piece = op === "write" ? operation.from : operation.to
  const target = op === "write" ? operation.to : operation.from
  if ("address" in target) return undefined
  const { length, memory, offset } = piece
  const { buffer, offset: at = 0 } = target
  return { op, memory: memory.name, offset, length, buffer, at }
}

/** Converts a request to its stored form; fails with what is wrong with it. */
export const toNamed = Effect.fnUntraced(function* (
  { id, ops, peer, within }: DurableRequest,
  otherwise: Duration.Input = "1 day"
): Effect.fn.Return<Named, InvalidTransfer> {
  const named: Array<NamedOperation> = []
  for (const [operation, one] of ops.entries()) {
    const name = nameOf(one)
    if (name === undefined) {
      const detail = "an address dies with its process: name the peer's buffer"
      return yield* new InvalidTransfer({ peer, operation, detail })
    }
    named.push(name)
  }
  const time = within ?? otherwise
  const until = (yield* Clock.currentTimeMillis) + Math.ceil(millisOf(time) ?? Number.NaN)
  if (!Number.isSafeInteger(until)) {
    return yield* new InvalidTransfer({ peer, operation: undefined, detail: noTime(time) })
  }
  return yield* Effect.mapError(decode({ id, peer, ops: named, until }), ({ message }) => {
    const detail = message.slice(0, 256)
    return new InvalidTransfer({ peer, operation: undefined, detail })
  })
})

const request = (
  { ops, peer }: Named,
  named: (name: string) => Effect.Effect<Memory>
): Effect.Effect<Request> =>
  Effect.forEach(ops, ({ at, buffer, length, memory, offset, op }) =>
    Effect.map(named(memory), (found): Operation => {
      const piece = found.slice(offset, length)
      const target = { buffer, offset: at }
      return op === "write" ? { op, from: piece, to: target } : { op, from: target, to: piece }
    })
  ).pipe(Effect.map((all) => ({ peer, ops: all })))

/** The deadline was over between two attempts, or before the first. */
const late = ({ ops, peer }: Named, last: TransferError | undefined): TransferFailed => {
  const memories = [...new Set(ops.map(({ memory }) => memory))].slice(0, namedOperations)
  const why = last?.message ?? `it waited for its memory: ${memories.join(", ")}`
  const isKnown = last?._tag === "TransferFailed"
  return new TransferFailed({
    peer,
    reason: "deadline",
    moved: isKnown ? last.moved : 0,
    bytes: ops.reduce((sum, { length }) => sum + length, 0),
    unfinished: isKnown ? last.unfinished : [...ops.keys()].slice(0, namedOperations),
    detail: `its time was over; ${why}`,
    fault: isKnown ? last.fault : undefined
  })
}

/** Whether the error is final. The others may go away with time. */
const isFinal = (error: TransferError): boolean =>
  (error._tag === "InvalidTransfer" && error.lacks === undefined) ||
  (error._tag === "TransferFailed" && error.reason === "deadline")

/**
 * Moves the named memory, once it is registered, until the deadline: failures before that are tried
 * again. It waits for memory that is released; when the engine ends, the next one resumes it. Only
 * a request that can never be fulfilled ends sooner.
 */
export const moveNamed = (
  transfer: (request: Request) => Effect.Effect<Moved, TransferError>,
  named: (name: string) => Effect.Effect<Memory>,
  waits: BackoffSettings
) =>
  Effect.fnUntraced(function* (kept: Named): Effect.fn.Return<Moved, TransferError> {
    const left = Effect.map(Clock.currentTimeMillis, (now) => kept.until - now)
    let last: TransferError | undefined = undefined
    const backoff = yield* Backoff.make(waits)
    while (true) {
      const orLate = { orElse: () => Effect.fail(late(kept, last)) }
      if ((yield* left) <= 0) return yield* late(kept, last)
      const asked = yield* request(kept, named).pipe(
        Effect.timeoutOrElse({ duration: yield* left, ...orLate })
      )
      const within = Math.max(1, yield* left)
      const result = yield* Effect.result(transfer({ ...asked, within }))
      if (Result.isSuccess(result)) return result.success
      const { failure } = result
      if (isFinal(failure)) return yield* failure
      if (failure._tag === "TransferFailed" && failure.reason === "closed")
        return yield* Effect.never
      if (failure.message !== last?.message) {
        yield* Effect.logWarning(`durable transfer ${kept.id} is tried again`, failure.message)
      }
      last = failure
      yield* Effect.sleep(Math.min(backoff.next(), Math.max(1, yield* left)))
    }
  })
