/** Checks a request before anything of it is posted. Pure. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import type { Operation, Request } from "../Transfer.ts"
import { InvalidTransfer } from "../TransferError.ts"
import { faultOfRange, type PeerMemory } from "./slicing.ts"
import type { CheckedOperation, StopReason } from "./job.ts"

const whole = (number: number): boolean => Number.isSafeInteger(number) && number >= 0

/** The memory that an engine has registered, by its names. */
type Memories = ReadonlyMap<string, RegisteredMemory>

/** The milliseconds in which a transfer can be done; undefined if the input is no time for that. */
export const millisOf = (within: Duration.Input): number | undefined => {
  const millis = Option.map(Duration.fromInput(within), Duration.toMillis)
  return Option.getOrUndefined(Option.filter(millis, (some) => some > 0))
}

export const noTime = (within: unknown): string => `${String(within)} is no time for a transfer`

/** Validates one operation. Returns its plan, or what is wrong with it. */
const planOf = (operation: Operation, memories: Memories): CheckedOperation | string => {
  const isWrite = operation.op === "write"
  const piece = isWrite ? operation.from : operation.to
  const target = isWrite ? operation.to : operation.from
  const { length, offset } = piece
  const memory = memories.get(piece.memory.name)!
  if (!whole(offset) || !whole(length) || length === 0) return `no ${length} bytes at ${offset}`
  const size = memory.bytes.length
  if (offset + length > size) return `${length} bytes at ${offset} of ${size} do not fit`
  if (!isWrite && !memory.access.includes("local-write")) {
    return `the memory ${memory.name} takes no reads: it is not for local writes`
  }
  const start = "address" in target ? target.address : (target.offset ?? 0)
  if (!whole(start) || !whole(start + length)) return `no place at ${start}`
  return { isWrite, memory, offset, length, target }
}

/**
 * Validates the terms and all operations; fails with the first that no peer could fulfil. Programs
 * without types come here with any terms.
 */
export const validateRequest = (
  { onReplaced = "begin-anew", ops: operations, peer, within }: Request,
  memories: Memories,
  limit: number
): ReadonlyArray<CheckedOperation> | InvalidTransfer => {
  const refuse = (operation: number | undefined, detail: string) =>
    new InvalidTransfer({ peer, operation, detail })
  if (within !== undefined && millisOf(within) === undefined) {
    return refuse(undefined, noTime(within))
  }
  if (onReplaced !== "begin-anew" && onReplaced !== "fail") {
    return refuse(undefined, `onReplaced: ${String(onReplaced)} is neither begin-anew nor fail`)
  }
  if (operations.length === 0) return refuse(undefined, "no operations")
  if (operations.length > limit) {
    return refuse(undefined, `${operations.length} operations, at most ${limit} may be`)
  }
  const plans: Array<CheckedOperation> = []
  let bytes = 0
  for (const [operation, one] of operations.entries()) {
    const { memory } = one.op === "write" ? one.from : one.to
    if (memories.get(memory.name) !== memory) {
      const detail = `${memory.name} is not registered with this engine`
      return new InvalidTransfer({ peer, operation, detail, lacks: "local-memory" })
    }
    const plan = planOf(one, memories)
    if (typeof plan === "string") return refuse(operation, plan)
    plans.push(plan)
    bytes += plan.length
  }
  return whole(bytes) ? plans : refuse(undefined, "more bytes than can be counted")
}

/** Why the peer's description does not allow the operations: the first one without its memory. */
export const faultOfPeer = (
  peer: string,
  plans: ReadonlyArray<CheckedOperation>,
  memory: PeerMemory
): InvalidTransfer | StopReason | undefined => {
  for (const [operation, { isWrite, length, target }] of plans.entries()) {
    const right = isWrite ? "remote-write" : "remote-read"
    const fault = faultOfRange(memory, target, length, right)
    if (fault === undefined) continue
    const { detail, isMissing } = fault
    return isMissing
      ? new InvalidTransfer({ peer, operation, detail, lacks: "peer-memory" })
      : { reason: "refused", detail: `operation ${operation}: ${detail}` }
  }
  return undefined
}
