/**
 * Limits the calls of this process to one server at the same time.
 *
 * More calls do not make a peer faster that serves one after the other, and their waiting there
 * counts against their deadlines. Urgent calls go before the others that wait here.
 */
import assert from "node:assert/strict"
import { WaitingWork } from "../../../link/WaitingWork.ts"

interface Queue {
  busy: number
  /** Calls that the server has answered while others were under way. */
  answered: number
  readonly waiting: WaitingWork<() => void>
}

export class Turns {
  readonly #limit: number
  readonly #queues = new Map<string, Queue>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Calls `begin` when there is a turn, perhaps at once. Returns a function that gives up waiting.
   */
  take(server: string, isUrgent: boolean, begin: () => void): () => void {
    const queue = this.#queues.get(server) ?? { busy: 0, answered: 0, waiting: new WaitingWork() }
    this.#queues.set(server, queue)
    if (queue.busy < this.#limit) {
      queue.busy += 1
      begin()
      return () => {}
    }
    queue.waiting.add(begin, isUrgent)
    return () => void queue.waiting.remove(begin)
  }

  /** Counts answers of a server as long as calls to it are under way: it is busy, not silent. */
  answeredBy(server: string): number {
    return this.#queues.get(server)?.answered ?? 0
  }

  /** Ends a turn. The next call that waits for the server begins. */
  release(server: string, isAnswered: boolean): void {
    const queue = this.#queues.get(server)
    assert.ok(queue !== undefined, `a turn at ${server} ends once`)
    if (isAnswered) queue.answered += 1
    const next = queue.waiting.next()
    if (next !== undefined) return next()
    queue.busy -= 1
    if (queue.busy === 0) this.#queues.delete(server)
  }
}
