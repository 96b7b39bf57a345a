/**
 * The main thread's receiving end of one worker: takes records out of its outbox and frames out of
 * its slab, and hands them to the lanes and jobs that they name.
 */
import { decoded } from "./endReason.ts"
import type { OpenFailure } from "./messages.ts"
import type { LaneCore } from "./laneHandle.ts"
import type { LanePlaces } from "./lanePlaces.ts"
import type { Opener } from "./opener.ts"
import type { OpenJobs } from "./openJobs.ts"
import { At, Out, textAt, type WorkerMemory } from "./records.ts"
import { RingConsumer } from "./ring.ts"
import { slabMemory, SlabReader, type SlabShape } from "./chunkPool.ts"

/** Whom records name, and what makes and misses lanes. */
export interface OutboxTarget {
  readonly places: LanePlaces
  readonly jobs: OpenJobs
  /** Makes the lane of a new connection. */
  readonly admit: (
    slot: number,
    generation: number,
    opener: Opener | undefined,
    peer: string
  ) => LaneCore
  /** A record of an older lane was dropped. */
  readonly stale: () => void
}

/** Records per drain, so that the loop's other work gets its turn. */
const recordsPerTurn = 4096

/** The consumer of one worker's outbox. */
export class OutboxReader {
  readonly #ring: RingConsumer
  readonly #slab: SlabReader
  readonly #target: OutboxTarget

  constructor(
    { outbox, slab }: Pick<WorkerMemory, "outbox" | "slab">,
    shape: SlabShape,
    target: OutboxTarget
  ) {
    this.#ring = new RingConsumer(new Int32Array(outbox))
    this.#slab = new SlabReader(slabMemory(slab, shape))
    this.#target = target
  }

  /** Whether the worker has published something. */
  poll(): boolean {
    return this.#ring.poll()
  }

  /** Consumes what the last `poll` saw, as far as one turn may. */
  consume(): void {
    let left = recordsPerTurn
    for (let at = this.#ring.next(); at >= 0; at = left-- > 0 ? this.#ring.next() : -1) {
      this.#consume(at)
    }
  }

  /** Gives the room of what was consumed back; true when the worker waits for it. */
  release(): boolean {
    this.#ring.release()
    // Both wishes are looked at: either may be what the worker waits for.
    const room = this.#ring.takeWaiting()
    return this.#slab.takeWaiting() || room
  }

  #consume(at: number): void {
    const { words } = this.#ring
    const kind = words[at + At.kind] ?? 0
    const slot = words[at + At.slot] ?? 0
    const generation = words[at + At.generation] ?? 0
    const a = words[at + At.a] ?? 0
    const b = words[at + At.b] ?? 0
    const c = words[at + At.c] ?? 0
    const from = words[at + At.d] ?? 0
    if (kind === Out.frames) {
      const { bytes, ends } = this.#slab.memory
      this.#lane(slot, generation)?.frames(bytes, ends, b, c, from)
      this.#slab.finish(a)
    } else if (kind === Out.part) {
      this.#lane(slot, generation)?.part(this.#slab.memory.bytes, from, from + b, c)
      this.#slab.finish(a)
    } else if (kind === Out.written) this.#lane(slot, generation)?.written(a)
    else if (kind === Out.finished) this.#lane(slot, generation)?.finished()
    else if (kind === Out.peerEnded) this.#lane(slot, generation)?.endedByPeer()
    else if (kind === Out.closed) {
      this.#lane(slot, generation)?.ended(decoded(a, b, textAt(this.#ring, at)))
    } else this.#answer(at, kind, slot, generation)
  }

  #answer(at: number, kind: number, slot: number, generation: number): void {
    const { words } = this.#ring
    const { admit, jobs } = this.#target
    const [job = 0, port = 0] = [words[at + At.a], words[at + At.b]]
    const text = textAt(this.#ring, at)
    if (kind === Out.listening) return jobs.listening(job, text, port)
    if (kind === Out.failed) return jobs.failed(job, JSON.parse(text) as OpenFailure)
    const isAccepted = kind === Out.accepted
    const opener = isAccepted ? jobs.listener(job) : jobs.opened(job)
    const core = admit(slot, generation, opener, text)
    if (opener === undefined) core.abort()
    else if (isAccepted) opener.accepted(core)
    else opener.opened(core)
  }

  /** The lane of a record; undefined, and counted, when the record is of an older one. */
  #lane(slot: number, generation: number): LaneCore | undefined {
    const core = this.#target.places.find(slot, generation)
    if (core === undefined) this.#target.stale()
    return core
  }
}
