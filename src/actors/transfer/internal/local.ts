/**
 * Moves memory within this process. A transfer with the local node needs no connection, and not
 * every provider can connect a queue pair to itself.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { NoDescription } from "../../rdma/Directory.ts"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import { BufferCursor, type PeerMemory } from "./slicing.ts"
import type { CheckedOperation, StopReason } from "./job.ts"
import type { ResolvedSettings } from "./settings.ts"

/** Bytes that are copied before other fibers have their turn: some hundred microseconds. */
const atOnce = 1 << 20

/**
 * Finds the registered memory of a described range, and the offset in it. A buffer keeps its
 * address when it is registered again, so a registration is known by its epoch.
 */
const placeOf = (
  memories: ReadonlyMap<string, RegisteredMemory>,
  { at, buffer }: BufferCursor
): { readonly memory: RegisteredMemory; readonly offset: number } | undefined => {
  for (const memory of memories.values()) {
    const [first] = memory.buffers
    if (first === undefined || memory.epoch !== buffer!.epoch) continue
    return { memory, offset: buffer!.address + at - first.address }
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

/** This node as its own peer. */
interface OwnPeer {
  readonly memory: PeerMemory
  isStale: boolean
  readonly refresh: Effect.Effect<void, NoDescription>
}

/**
 * Copies everything; fails with the reason if it stopped. If memory has been released since it was
 * described, asks for it again; what has been copied by then begins anew if the caller wants that.
 */
export const copyLocally = (
  plans: ReadonlyArray<CheckedOperation>,
  peer: OwnPeer,
  memories: ReadonlyMap<string, RegisteredMemory>,
  copied: Copied,
  isAnew: boolean,
  { beginnings: times, firstWaitMs }: Pick<ResolvedSettings, "beginnings" | "firstWaitMs">
): Effect.Effect<void, StopReason | NoDescription> => {
  const copy = Effect.suspend(() => copyOnce(plans, peer.memory, memories, copied))
  const again = Effect.suspend(() => {
    peer.isStale = true
    return Effect.andThen(peer.refresh, copy)
  })
  const mayBegin = ({ reason }: StopReason | NoDescription): boolean =>
    reason === "no-such-memory" || (reason === "peer-memory-replaced" && isAnew)
  const schedule = Schedule.spaced(firstWaitMs)
  return Effect.catchIf(copy, mayBegin, () =>
    Effect.retry(again, { schedule, times, while: mayBegin })
  )
}

const copyOnce = (
  plans: ReadonlyArray<CheckedOperation>,
  peer: PeerMemory,
  memories: ReadonlyMap<string, RegisteredMemory>,
  copied: Copied
): Effect.Effect<void, StopReason> =>
  Effect.gen(function* () {
    const found = new BufferCursor()
    copied.moved = copied.operations = 0
    for (const { isWrite, length, memory, offset, target } of plans) {
      for (let at = 0, run = 0; at < length; at += run) {
        const missing = peer.find(target, at, found)
        const there = missing === undefined ? placeOf(memories, found) : undefined
        if (there === undefined) {
          const detail = missing ?? `${found.buffer!.name} was released`
          const reason = copied.moved > 0 ? "peer-memory-replaced" : "no-such-memory"
          return yield* Effect.fail<StopReason>({ reason, detail })
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
