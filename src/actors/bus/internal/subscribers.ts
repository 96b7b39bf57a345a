/**
 * Hands publications to those who subscribed. A subscriber that does not keep up misses some, and
 * learns how many; it never holds up a link, on which heartbeats wait behind publications.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { copyOf } from "../../../schema/copyBytes.ts"
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

/** An element without its memory: its bytes may lie where they were read. */
type Arrived<E> = Omit<E, "_tag">

/** Elements of a stream that is bounded by the bytes of their channels and messages. */
interface Element {
  readonly _tag: string
  readonly channel: Uint8Array
  readonly message: Uint8Array
}

const bytesOf = ({ channel, message }: Arrived<Element>): number => channel.length + message.length

class Subscriber<E extends Element> {
  readonly #queue: Queue.Queue<E | Missed>
  readonly accepts: (arrived: Arrived<E>) => boolean
  readonly #room: Room
  #messages = 0
  #bytes = 0
  #missed = 0
  /** A count of what was missed waits in the queue, or its reader has it. */
  #isTelling = false
  /** The elements that its reader works at. */
  #inHand: ReadonlyArray<E | Missed> = []

  constructor(
    queue: Queue.Queue<E | Missed>,
    accepts: (arrived: Arrived<E>) => boolean,
    room: Room
  ) {
    this.#queue = queue
    this.accepts = accepts
    this.#room = room
  }

  /** Takes room for an element; without room it is missed. */
  hasRoom(arrived: Arrived<Element>): boolean {
    const bytes = bytesOf(arrived)
    const isFull =
      this.#messages >= this.#room.messages ||
      (this.#messages > 0 && this.#bytes + bytes > this.#room.bytes)
    if (isFull) {
      this.#missed++
      return false
    }
    this.#messages++
    this.#bytes += bytes
    return true
  }

  offer(element: E): void {
    Queue.offerUnsafe(this.#queue, element)
  }

  miss(count: number): void {
    this.#missed += count
    if (this.#messages === 0) this.#tell()
  }

  /** Waits for elements; those before them are done with. */
  readonly pull = Effect.suspend(() => {
    this.#release()
    return Effect.map(Queue.takeAll(this.#queue), (elements) => {
      this.#inHand = elements
      return elements
    })
  })

  #release(): void {
    for (const element of this.#inHand) {
      if ("message" in element) {
        this.#messages--
        this.#bytes -= bytesOf(element)
      } else this.#isTelling = false
    }
    this.#inHand = []
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

  /** Hands an element to those who accept it; `keep` gives it memory of its own, if any does. */
  deliver(arrived: Arrived<E>, keep: (arrived: Arrived<E>) => E): void {
    this.count++
    let element: E | undefined
    for (const subscriber of this.#all) {
      if (!subscriber.accepts(arrived) || !subscriber.hasRoom(arrived)) continue
      element ??= keep(arrived)
      subscriber.offer(element)
    }
  }

  /** Elements were left out before their kind was known. */
  miss(count: number): void {
    for (const subscriber of this.#all) subscriber.miss(count)
  }

  /** The accepted elements from now on. */
  stream(accepts: (arrived: Arrived<E>) => boolean, room: Room): Stream.Stream<E | Missed> {
    return Stream.unwrap(
      Effect.gen({ self: this }, function* () {
        // Bounded by the subscriber, in messages and bytes.
        const queue = yield* Queue.unbounded<E | Missed>()
        const subscriber = new Subscriber(queue, accepts, room)
        yield* Effect.acquireRelease(
          Effect.sync(() => this.#all.add(subscriber)),
          () => Effect.sync(() => this.#all.delete(subscriber))
        )
        return Stream.fromPull(Effect.succeed(subscriber.pull))
      })
    )
  }
}

/** A publication with memory of its own. */
export const keepPublication = (arrived: Arrived<Published>): Published => ({
  _tag: "Published",
  type: arrived.type,
  from: arrived.from,
  channel: copyOf(arrived.channel, 0, arrived.channel.length),
  message: copyOf(arrived.message, 0, arrived.message.length),
  moduleType: arrived.moduleType
})
