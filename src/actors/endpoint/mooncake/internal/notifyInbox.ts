/** Notifies that wait to be taken, bounded by their number and by their length. */
import * as Queue from "effect/Queue"
import type { Notify } from "../../../../schema/mooncake/Notify.ts"

/** Bytes of a character of a string in memory, at most. */
const characterBytes = 2

export class NotifyInbox {
  readonly queue: Queue.Queue<Notify>
  readonly #mostBytes: number
  /** Bytes of each notify that was in the queue at the last check, the oldest first. */
  #lengths: Array<number> = []

  constructor(queue: Queue.Queue<Notify>, mostBytes: number) {
    this.queue = queue
    this.#mostBytes = mostBytes
  }

  /** False if there was no room for it. */
  offer(notify: Notify): boolean {
    const taken = this.#lengths.length - Queue.sizeUnsafe(this.queue)
    if (taken > 0) this.#lengths = this.#lengths.slice(taken)
    const bytes = characterBytes * (notify.name.length + notify.message.length)
    const waiting = this.#lengths.reduce((sum, length) => sum + length, 0)
    if (waiting + bytes > this.#mostBytes) return false
    // A waiting taker gets it at once.
    if (!Queue.offerUnsafe(this.queue, notify)) return false
    this.#lengths.push(bytes)
    return true
  }
}
