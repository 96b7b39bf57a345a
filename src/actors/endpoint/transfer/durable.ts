/** Between requests of users, and the names under which a journal keeps them. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Memory } from "../Memory.ts"
import type { DurableRequest, Moved, Operation, Request } from "../Transfer.ts"
import { InvalidTransfer, type TransferError, TransferFailed } from "../TransferError.ts"
import type { Named, NamedOperation } from "../Transfers.ts"
import { namedOperations } from "./engine.ts"

const nameOf = (operation: Operation): NamedOperation | undefined => {
  const { op } = operation
  const piece = op === "write" ? operation.from : operation.to
  const target = op === "write" ? operation.to : operation.from
  if ("address" in target) return undefined
  const { length, memory, offset } = piece
  const { buffer, offset: at = 0 } = target
  return { op, memory: memory.name, offset, length, buffer, at }
}

/** A request as it is kept, or what is wrong with it. */
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
  const time = Option.map(Duration.fromInput(within ?? otherwise), Duration.toMillis)
  const millis = Math.ceil(Option.getOrElse(time, () => 0))
  const until = (yield* Clock.currentTimeMillis) + millis
  if (millis > 0 && Number.isSafeInteger(until)) return { id, peer, ops: named, until }
  const detail = `${String(within ?? otherwise)} is no time for a transfer`
  return yield* new InvalidTransfer({ peer, operation: undefined, detail })
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

/** Its time was over before anything of it could begin. */
const late = ({ ops, peer }: Named): TransferFailed => {
  const memories = [...new Set(ops.map(({ memory }) => memory))].slice(0, namedOperations)
  return new TransferFailed({
    peer,
    reason: "deadline",
    moved: 0,
    bytes: ops.reduce((sum, { length }) => sum + length, 0),
    unfinished: [...ops.keys()].slice(0, namedOperations),
    detail: `its time was over before it could begin; its memory: ${memories.join(", ")}`,
    fault: undefined
  })
}

/**
 * Moves what is named, as soon as its memory is there. Memory that is released meanwhile is waited
 * for again; when the engine ends, the next one takes it up. All that until its deadline.
 */
export const moveNamed = (
  transfer: (request: Request) => Effect.Effect<Moved, TransferError>,
  named: (name: string) => Effect.Effect<Memory>
) =>
  Effect.fnUntraced(function* (kept: Named): Effect.fn.Return<Moved, TransferError> {
    const left = Effect.map(Clock.currentTimeMillis, (now) => kept.until - now)
    for (;;) {
      const wait = yield* left
      if (wait <= 0) return yield* late(kept)
      const asked = yield* request(kept, named).pipe(
        Effect.timeoutOrElse({ duration: wait, orElse: () => Effect.fail(late(kept)) })
      )
      const within = Math.max(1, yield* left)
      const moved = yield* transfer({ ...asked, within }).pipe(
        Effect.catchIf(isOfEngine, (error) =>
          error.reason === "closed" ? Effect.never : Effect.void
        )
      )
      if (moved !== undefined) return moved
    }
  })

/** The own side's memory or engine has gone: both come back. */
const isOfEngine = (error: TransferError): error is TransferFailed =>
  error._tag === "TransferFailed" &&
  (error.reason === "memory-released" || error.reason === "closed")
