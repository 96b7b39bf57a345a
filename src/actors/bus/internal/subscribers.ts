/**
 * Hands publications to those who subscribed. A subscriber that does not keep up misses some, and
 * learns how many; it never holds up a link, on which heartbeats wait behind publications.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Publication } from "./table.ts"

/**
 * In place of publications that a subscriber had no room for, and of those, on whatever channel,
 * that came while the main thread was busy for long.
 */
export interface Missed {
  readonly _tag: "Missed"
  readonly count: number
}

export interface Published extends Publication {
  readonly _tag: "Published"
}

/** Bounds of the queue of one subscriber: publications, and their bytes. */
export interface Room {
  readonly messages: number
  readonly bytes: number
}

/** Elements of a stream that is bounded by the bytes of their messages. */
interface Element {
  readonly _tag: string
  readonly message: Uint8Array
}

class Subscriber<E extends Element> {
  readonly #queue: Queue.Enqueue<E | Missed>
  readonly #accepts: (element: E) => boolean
  readonly #room: Room
  #messages = 0
  #bytes = 0
  #missed = 0
  /** A count of what was missed waits in the queue. */
  #isTelling = false

  constructor(queue: Queue.Enqueue<E | Missed>, accepts: (element: E) => boolean, room: Room) {
    this.#queue = queue
    this.#accepts = accepts
    this.#room = room
  }

  offer(element: E): void {
    if (!this.#accepts(element)) return
    const bytes = element.message.length
    const isFull =
      this.#messages >= this.#room.messages ||
      (this.#messages > 0 && this.#bytes + bytes > this.#room.bytes)
    if (isFull) {
      this.#missed++
      return
    }
    this.#messages++
    this.#bytes += bytes
    Queue.offerUnsafe(this.#queue, element)
  }

  miss(count: number): void {
    this.#missed += count
    if (this.#messages === 0) this.#tell()
  }

  taken(element: E | Missed): void {
    if ("message" in element) {
      this.#messages--
      this.#bytes -= element.message.length
    } else this.#isTelling = false
    this.#tell()
  }

  #tell(): void {
    if (this.#missed === 0 || this.#isTelling) return
    this.#isTelling = true
    Queue.offerUnsafe(this.#queue, { _tag: "Missed", count: this.#missed })
    this.#missed = 0
  }
}

export class Subscribers<E extends Element = Published> {
  readonly #all = new Set<Subscriber<E>>()
  /** Elements since the start, whether or not there was a subscriber. */
  count = 0

  deliver(element: E): void {
    this.count++
    for (const subscriber of this.#all) subscriber.offer(element)
  }

  /** Elements were left out before their kind was known. */
  miss(count: number): void {
    for (const subscriber of this.#all) subscriber.miss(count)
  }

  /** The accepted elements from now on. */
  stream(accepts: (element: E) => boolean, room: Room): Stream.Stream<E | Missed> {
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        // Bounded by the subscriber, in messages and bytes.
        const queue = yield* Queue.unbounded<E | Missed>()
        const subscriber = new Subscriber(queue, accepts, room)
        yield* Effect.acquireRelease(
          Effect.sync(() => this.#all.add(subscriber)),
          () => Effect.sync(() => this.#all.delete(subscriber))
        )
        return Stream.fromEffectRepeat(
          Effect.tap(Queue.take(queue), (element) => Effect.sync(() => subscriber.taken(element)))
        )
      })
    )
  }
}
