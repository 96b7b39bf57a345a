/** Callers that wait for an answer that a later decision gives, by the key that settles them. */

const none: ReadonlyArray<never> = []

export class Waiters<A> {
  readonly #byKey = new Map<string, Array<A>>()
  size = 0

  count(key: string): number {
    return this.#byKey.get(key)?.length ?? 0
  }

  add(key: string, waiter: A): void {
    const others = this.#byKey.get(key)
    if (others === undefined) this.#byKey.set(key, [waiter])
    else others.push(waiter)
    this.size++
  }

  /** Removes and returns those under a key, in the order of their arrival. */
  take(key: string): ReadonlyArray<A> {
    const taken = this.#byKey.get(key) ?? none
    this.#byKey.delete(key)
    this.size -= taken.length
    return taken
  }

  remove(key: string, waiter: A): void {
    const others = this.#byKey.get(key)
    const index = others?.indexOf(waiter) ?? -1
    if (others === undefined || index < 0) return
    others.splice(index, 1)
    if (others.length === 0) this.#byKey.delete(key)
    this.size--
  }

  all(): ReadonlyArray<A> {
    return [...this.#byKey.values()].flat()
  }
}

/** Callers that will wait once the decisions of a batch have taken place. */
export class Tally {
  readonly #waiters: Waiters<unknown> | undefined
  /** The number under each key that the batch changes. */
  readonly #changed = new Map<string, number>()
  total: number

  constructor(waiters: Waiters<unknown> | undefined) {
    this.#waiters = waiters
    this.total = waiters?.size ?? 0
  }

  add(key: string): void {
    this.#changed.set(key, this.#count(key) + 1)
    this.total++
  }

  settle(key: string): void {
    this.total -= this.#count(key)
    this.#changed.set(key, 0)
  }

  #count(key: string): number {
    return this.#changed.get(key) ?? this.#waiters?.count(key) ?? 0
  }
}
