/**
 * Hands publications to those who subscribed. A subscriber that does not keep up misses some, and
 * learns how many; it never holds up a link, on which heartbeats wait behind publications.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Publication } from "./table.ts"

/** In place of publications that a subscriber had no room for. */
export interface Missed {
  readonly _tag: "Missed"
  readonly count: number
}

export interface Published extends Publication {
  readonly _tag: "Published"
}

/** What may wait for one subscriber: publications, and their bytes. */
export interface Room {
  readonly messages: number
  readonly bytes: number
}

class Subscriber {
  readonly #queue: Queue.Enqueue<Published | Missed>
  readonly #accepts: (publication: Publication) => boolean
  readonly #room: Room
  #messages = 0
  #bytes = 0
  #missed = 0

  constructor(
    queue: Queue.Enqueue<Published | Missed>,
    accepts: (publication: Publication) => boolean,
    room: Room
  ) {
    this.#queue = queue
    this.#accepts = accepts
    this.#room = room
  }

  offer(publication: Publication): void {
    if (!this.#accepts(publication)) return
    const bytes = publication.message.length
    const isFull =
      this.#messages >= this.#room.messages ||
      (this.#messages > 0 && this.#bytes + bytes > this.#room.bytes)
    if (isFull) {
      this.#missed++
      return
    }
    this.#messages++
    this.#bytes += bytes
    Queue.offerUnsafe(this.#queue, { _tag: "Published", ...publication })
  }

  taken(element: Published | Missed): void {
    if (element._tag === "Missed") return
    this.#messages--
    this.#bytes -= element.message.length
    if (this.#missed === 0) return
    Queue.offerUnsafe(this.#queue, { _tag: "Missed", count: this.#missed })
    this.#missed = 0
  }
}

export class Subscribers {
  readonly #all = new Set<Subscriber>()

  deliver(publication: Publication): void {
    for (const subscriber of this.#all) subscriber.offer(publication)
  }

  /** The accepted publications from now on. */
  stream(
    accepts: (publication: Publication) => boolean,
    room: Room
  ): Stream.Stream<Published | Missed> {
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        // Bounded by the subscriber, in messages and bytes.
        const queue = yield* Queue.unbounded<Published | Missed>()
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
