/** The timers of one run: a binary heap by time, then by the order in which they were set. */

/** A timer. A cancelled one stays in the heap until it comes to the top. */
export interface Timer<Owner> {
  readonly at: number
  readonly order: number
  readonly owner: Owner
  readonly fire: () => void
  cancelled: boolean
}

const before = <Owner>(a: Timer<Owner>, b: Timer<Owner>): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order)

/** A heap of timers with cheap cancellation. */
export class Timers<Owner> {
  readonly #heap: Array<Timer<Owner>> = []
  #order = 0

  /** Sets a timer for the given virtual time. */
  add(at: number, owner: Owner, fire: () => void): Timer<Owner> {
    const timer: Timer<Owner> = { at, order: this.#order++, owner, fire, cancelled: false }
    const heap = this.#heap
    let index = heap.length
    heap.push(timer)
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(timer, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = timer
    return timer
  }

  /** The earliest timer that is not cancelled. */
  peek(): Timer<Owner> | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.cancelled) this.#removeTop()
    return this.#heap[0]
  }

  /** Removes and returns the earliest timer that is not cancelled. */
  pop(): Timer<Owner> | undefined {
    const top = this.peek()
    if (top !== undefined) this.#removeTop()
    return top
  }

  /** Cancels every timer of an owner, as when its process is killed. */
  cancelOwner(owner: Owner): void {
    for (const timer of this.#heap) if (timer.owner === owner) timer.cancelled = true
  }

  #removeTop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    const size = heap.length
    if (size === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= size) break
      if (child + 1 < size && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
  }
}
