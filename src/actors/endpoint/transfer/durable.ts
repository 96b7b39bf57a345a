/** Between requests of users, and the names under which a journal keeps them. */
import * as Effect from "effect/Effect"
import type { Memory } from "../Memory.ts"
import type { DurableRequest, Moved, Operation, Request } from "../Transfer.ts"
import { InvalidTransfer, type TransferError } from "../TransferError.ts"
import type { Named, NamedOperation } from "../Transfers.ts"

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
export const toNamed = ({
  id,
  ops,
  peer
}: DurableRequest): Effect.Effect<Named, InvalidTransfer> => {
  const named: Array<NamedOperation> = []
  for (const [operation, one] of ops.entries()) {
    const name = nameOf(one)
    if (name === undefined) {
      const detail = "an address dies with its process: name the peer's buffer"
      return Effect.fail(new InvalidTransfer({ peer, operation, detail }))
    }
    named.push(name)
  }
  return Effect.succeed({ id, peer, ops: named })
}

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

/**
 * Moves what is named, as soon as its memory is there. Memory that is released meanwhile is waited
 * for again; when the engine ends, the next one takes it up.
 */
export const moveNamed =
  (
    transfer: (request: Request) => Effect.Effect<Moved, TransferError>,
    named: (name: string) => Effect.Effect<Memory>
  ) =>
  (kept: Named): Effect.Effect<Moved, TransferError> => {
    const move: Effect.Effect<Moved, TransferError> = Effect.flatMap(
      request(kept, named),
      transfer
    ).pipe(
      Effect.catchTag("TransferFailed", (error) => {
        if (error.reason === "memory-released") return move
        return error.reason === "closed" ? Effect.never : Effect.fail(error)
      })
    )
    return move
  }
