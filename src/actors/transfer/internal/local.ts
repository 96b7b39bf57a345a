/**
 * Moves memory within this process. A transfer with the local node needs no connection, and not
 * every provider can connect a queue pair to itself.
 */
import * as Effect from "effect/Effect"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import { BufferCursor, type PeerMemory } from "./slicing.ts"
import type { CheckedOperation, StopReason } from "./job.ts"

/** Bytes that are copied before other fibers have their turn: some hundred microseconds. */
const atOnce = 1 << 20

/** Finds the registered memory of a described range, and the offset in it. */
const placeOf = (
  memories: ReadonlyMap<string, RegisteredMemory>,
  { at, buffer }: BufferCursor
): { readonly memory: RegisteredMemory; readonly offset: number } | undefined => {
  const address = buffer!.address + at
  for (const memory of memories.values()) {
    const first = memory.buffers[0]?.address ?? Infinity
    const offset = address - first
    if (offset >= 0 && offset < memory.bytes.length) return { memory, offset }
  }
  return undefined
}

/** Progress of a copy. */
export class Copied {
  /** Bytes that have moved. */
  moved = 0
  /** Operations that have moved as a whole. */
  operations = 0
}

/** Copies everything; returns the reason if it stopped. */
export const copyLocally = (
  plans: ReadonlyArray<CheckedOperation>,
  peer: PeerMemory,
  memories: ReadonlyMap<string, RegisteredMemory>,
  copied: Copied
): Effect.Effect<void, StopReason> =>
  Effect.gen(function* () {
    const found = new BufferCursor()
    for (const { isWrite, length, memory, offset, target } of plans) {
      for (let at = 0, run = 0; at < length; at += run) {
        const missing = peer.find(target, at, found)
        const there = missing === undefined ? placeOf(memories, found) : undefined
        if (there === undefined) {
          const detail = missing ?? "it was released"
          return yield* Effect.fail<StopReason>({ reason: "no-such-memory", detail })
        }
        if (memory.isReleased) {
          const detail = `${memory.name} was released`
          return yield* Effect.fail<StopReason>({ reason: "memory-released", detail })
        }
        if (!there.memory.access.includes(isWrite ? "remote-write" : "remote-read")) {
          const detail = `${there.memory.name} is not for that`
          return yield* Effect.fail<StopReason>({ reason: "refused", detail })
        }
        run = Math.min(length - at, found.run, atOnce)
        const [here, other] = [memory.bytes, there.memory.bytes]
        const [place, its] = [offset + at, there.offset]
        if (isWrite) other.set(here.subarray(place, place + run), its)
        else here.set(other.subarray(its, its + run), place)
        copied.moved += run
        yield* Effect.yieldNow
      }
      copied.operations += 1
    }
  })
