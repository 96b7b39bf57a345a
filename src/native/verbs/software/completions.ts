/** A completion queue in memory: a ring whose slots are reserved when work is posted. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Completion, CompletionBatch, type CompletionQueue } from "../Completion.ts"
import { Released } from "../VerbsError.ts"
import { Resource } from "../provider/resources.ts"
import type { SlotCounters } from "./slotCounters.ts"

/** A completion in the ring, and the end that its poll reports to the work queue. */
class Entry {
  readonly completion = new Completion()
  counters: SlotCounters | undefined = undefined
  upTo = 0
}

/** The most completions of one array of a stream. */
const streamBatch = 64

/** A completion queue that providers in software share. */
export class SoftwareCompletionQueue implements CompletionQueue {
  readonly capacity: number
  reserved = 0
  readonly ready: Effect.Effect<void, Released>
  readonly completions: Stream.Stream<Completion>
  readonly #ring: Array<Entry> = []
  /** Resumes a waiter, now or in a later task. */
  readonly #waiters = new Set<(now: boolean) => void>()
  /** The index of the first completion, and the number of completions. */
  #first = 0
  #count = 0
  /** Nesting of `begin`, and whether a completion was added since. */
  #putDepth = 0
  #hasPut = false
  #isReleased = false

  constructor(capacity: number) {
    this.capacity = capacity
    this.ready = Effect.suspend(() => this.#whenReady())
    this.completions = streamOf(this)
  }

  /** Reserves a slot for the completion of work that is being posted. */
  reserve(): boolean {
    if (this.reserved === this.capacity) return false
    this.reserved += 1
    return true
  }

  unreserve(places: number): void {
    this.reserved -= places
  }

  /**
   * Adds a completion and returns it, to be filled before any other code runs. Its poll reports to
   * the ledger that all work before `upTo` has ended.
   */
  put(ledger: SlotCounters, upTo: number): Completion {
    const index = (this.#first + this.#count) % this.capacity
    const entry = (this.#ring[index] ??= new Entry())
    entry.counters = ledger
    entry.upTo = upTo
    this.#count += 1
    if (this.#putDepth > 0) this.#hasPut = true
    else this.#wake(false)
    return entry.completion
  }

  /** Until `end`, no waiter is resumed: the added completions are not filled yet. */
  begin(): void {
    this.#putDepth += 1
  }

  /** Resumes waiters at once, on the caller's stack: a later task would add latency. */
  end(): void {
    this.#putDepth -= 1
    if (this.#putDepth > 0 || !this.#hasPut) return
    this.#hasPut = false
    this.#wake(true)
  }

  poll(batch: CompletionBatch): number {
    const count = Math.min(this.#count, batch.limit)
    for (let index = 0; index < count; index++) {
      const entry = this.#ring[this.#first]!
      batch.at(index).copy(entry.completion)
      this.reserved -= entry.counters!.reclaim(entry.upTo)
      this.#first = (this.#first + 1) % this.capacity
    }
    this.#count -= count
    batch.count = count
    return count
  }

  /** Ends the queue, and resumes its waiters. */
  releaseUnsafe(): void {
    this.#isReleased = true
    this.#wake(false)
  }

  #wake(now: boolean): void {
    // Even the iterator of an empty set is an object.
    if (this.#waiters.size === 0) return
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const wake of waiters) wake(now)
  }

  #whenReady(): Effect.Effect<void, Released> {
    if (this.#count > 0) return Effect.void
    if (this.#isReleased) {
      return Effect.fail(new Released({ resource: "completion queue", reason: "released" }))
    }
    const woken = Effect.withFiber<void>((fiber) =>
      Effect.callback((resume) => {
        // A completion may have come since the check above.
        if (this.#count > 0 || this.#isReleased) return resume(Effect.void)
        const wake = (now: boolean): void => {
          if (now) resume(Effect.void)
          else fiber.currentDispatcher.scheduleTask(() => resume(Effect.void), 0)
        }
        this.#waiters.add(wake)
        return Effect.sync(() => this.#waiters.delete(wake))
      })
    )
    return Effect.andThen(woken, this.ready)
  }
}

/** A completion queue on a device. */
export class DeviceCompletionQueue extends SoftwareCompletionQueue {
  readonly resource: Resource

  constructor(capacity: number, device: Resource) {
    super(capacity)
    this.resource = new Resource("completion queue", [device], () => this.releaseUnsafe())
  }
}

const taken = (queue: SoftwareCompletionQueue, batch: CompletionBatch): ReadonlyArray<Completion> =>
  Array.from({ length: queue.poll(batch) }, (_, index) => {
    const copy = new Completion()
    copy.copy(batch.at(index))
    return copy
  })

/** The completions as they come, until the queue is released. */
const streamOf = (queue: SoftwareCompletionQueue): Stream.Stream<Completion> =>
  Stream.suspend(() => {
    const batch = new CompletionBatch(streamBatch)
    return Stream.fromEffectRepeat(Effect.map(queue.ready, () => taken(queue, batch))).pipe(
      Stream.catchTag("Released", () => Stream.empty),
      Stream.flattenIterable
    )
  })
