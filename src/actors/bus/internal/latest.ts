/** The newest value of something, and streams of it that a slow reader does not hold up. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** A reader that falls behind misses values between, and never the last one. */
export class Latest<A> {
  #value: A
  readonly #queues = new Set<Queue.Enqueue<A>>()

  constructor(value: A) {
    this.#value = value
  }

  get value(): A {
    return this.#value
  }

  set(value: A): void {
    this.#value = value
    for (const queue of this.#queues) Queue.offerUnsafe(queue, value)
  }

  /** The value now, then each newer one that the reader has time for. */
  readonly stream: Stream.Stream<A> = Stream.callback<A>(
    (queue) =>
      Effect.gen({ self: this }, function* () {
        Queue.offerUnsafe(queue, this.#value)
        this.#queues.add(queue)
        yield* Effect.addFinalizer(() => Effect.sync(() => this.#queues.delete(queue)))
        return yield* Effect.never
      }),
    { bufferSize: 1, strategy: "sliding" }
  )
}
