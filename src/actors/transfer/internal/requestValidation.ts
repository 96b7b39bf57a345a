/** Checks a request before anything of it is posted. Pure. */
import { RegisteredMemory } from "../../rdma/Memory.ts"
import type { Operation } from "../Transfer.ts"
import { InvalidTransfer } from "../TransferError.ts"
import { gap, type PeerMemory } from "./slicing.ts"
import type { Plan } from "./job.ts"

const whole = (number: number): boolean => Number.isSafeInteger(number) && number >= 0

/** What is wrong with an operation by itself, or its plan. */
const planOf = (operation: Operation): Plan | string => {
  const isWrite = operation.op === "write"
  const piece = isWrite ? operation.from : operation.to
  const target = isWrite ? operation.to : operation.from
  const { length, memory, offset } = piece
  if (!(memory instanceof RegisteredMemory)) return "the own side is not registered memory"
  if (memory.isReleased) return `the memory ${memory.name} is released`
  if (!whole(offset) || !whole(length) || length === 0) return `no ${length} octets at ${offset}`
  const size = memory.octets.length
  if (offset + length > size) return `${length} octets at ${offset} of ${size} do not fit`
  if (!isWrite && !memory.access.includes("local-write")) {
    return `the memory ${memory.name} takes no reads: it is not for local writes`
  }
  const start = "address" in target ? target.address : (target.offset ?? 0)
  if (!whole(start) || !whole(start + length)) return `no place at ${start}`
  return { isWrite, memory, offset, length, target }
}

/** Plans all operations, or says which one cannot be. */
export const plansOf = (
  peer: string,
  operations: ReadonlyArray<Operation>,
  memory: PeerMemory,
  limit: number
): ReadonlyArray<Plan> | InvalidTransfer => {
  const refuse = (operation: number | undefined, detail: string) =>
    new InvalidTransfer({ peer, operation, detail })
  if (operations.length === 0) return refuse(undefined, "no operations")
  if (operations.length > limit) {
    return refuse(undefined, `${operations.length} operations, at most ${limit} may be`)
  }
  const plans: Array<Plan> = []
  let bytes = 0
  for (const [index, operation] of operations.entries()) {
    const plan = planOf(operation)
    if (typeof plan === "string") return refuse(index, plan)
    const detail = gap(memory, plan.target, plan.length)
    if (detail !== undefined) {
      return new InvalidTransfer({ peer, operation: index, detail, lacks: "peer-memory" })
    }
    plans.push(plan)
    bytes += plan.length
  }
  return whole(bytes) ? plans : refuse(undefined, "more octets than can be counted")
}
