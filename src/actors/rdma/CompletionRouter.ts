/**
 * Routes the completions of one completion queue to their work.
 *
 * Many queue pairs share a completion queue, and a device may reuse the number of a destroyed queue
 * pair at once. So work is found by its id alone. An id is reused only after all others have been,
 * so a completion of work that was given up is never taken for other work.
 */

import { ok as assert } from "node:assert/strict"
import * as Effect from "effect/Effect"
import { Completion, CompletionBatch, type CompletionQueue } from "../../native/verbs/Completion.ts"
import type { Released } from "../../native/verbs/VerbsError.ts"

/** Posted work. */
export interface Work {
  /** Called once, with a completion that is valid until this returns. It must not throw. */
  completed(completion: Completion): void
}

/** Ids wrap after this one: V8 would allocate an object for a larger number. */
const defaultLargestId = 0x3fff_ffff

export class CompletionRouter {
  readonly completions: CompletionQueue
  readonly #work = new Map<number, Work>()
  readonly #batch = new CompletionBatch()
  /** Called at the end of the batch that is being routed. */
  readonly #later = new Set<() => void>()
  readonly #largestId: number
  #lastId = 0
  #isDraining = false

  /** Ids are 0 to `largestId`, one less than a power of two. */
  constructor(completions: CompletionQueue, largestId = defaultLargestId) {
    this.completions = completions
    this.#largestId = largestId
  }

  /** Work that has not completed. */
  get size(): number {
    return this.#work.size
  }

  /** Returns the id under which work is posted. */
  add(work: Work): number {
    do this.#lastId = (this.#lastId + 1) & this.#largestId
    while (this.#work.has(this.#lastId))
    this.#work.set(this.#lastId, work)
    return this.#lastId
  }

  /** Forgets work that was not accepted, or that is given up. Its completion is dropped. */
  remove(id: number): void {
    this.#work.delete(id)
  }

  /**
   * Calls `turn` once, after the batch of completions that is being routed, so that follow-ups,
   * such as posting Receives, are done once a batch. Outside of a batch it is called at once.
   */
  afterBatch(turn: () => void): void {
    if (this.#isDraining) this.#later.add(turn)
    else turn()
  }

  /**
   * Routes all completions. Within a call of `completed` or `afterBatch` it does nothing, since the
   * call that is under way goes on until the queue is empty.
   */
  drain(): void {
    if (this.#isDraining) return
    this.#isDraining = true
    try {
      while (this.completions.poll(this.#batch) > 0) {
        for (let index = 0; index < this.#batch.count; index++) this.#route(this.#batch.at(index))
        this.#finishBatch()
      }
    } finally {
      this.#isDraining = false
    }
  }

  /** Routes completions as they come, until the queue is released: then all work is flushed. */
  readonly run: Effect.Effect<never, Released> = Effect.suspend(() =>
    this.completions.ready.pipe(
      Effect.andThen(Effect.sync(() => this.drain())),
      Effect.forever,
      Effect.onError(() => Effect.sync(() => this.#flush()))
    )
  )

  #route(completion: Completion): void {
    const work = this.#work.get(completion.id)
    if (work === undefined) return
    this.#work.delete(completion.id)
    work.completed(completion)
  }

  #finishBatch(): void {
    for (const turn of this.#later) {
      this.#later.delete(turn)
      turn()
    }
  }

  /** Flushes all work: the device is gone and completes none of it. */
  #flush(): void {
    this.drain()
    assert(!this.#isDraining)
    this.#isDraining = true
    const end = new Completion()
    end.status = "flushed"
    for (const id of this.#work.keys()) {
      end.id = id
      this.#route(end)
    }
    this.#finishBatch()
    this.#isDraining = false
  }
}
