/**
 * The lanes of one worker by their slots, in the worker. A slot is free again when the main thread
 * has released its lane; a record of an older generation finds nothing.
 */
export class LaneSlots<Lane> {
  readonly count: number
  readonly #lanes: Array<Lane | undefined>
  readonly #generations: Int32Array
  readonly #free: Array<number>

  constructor(count: number) {
    this.count = count
    this.#lanes = Array.from({ length: count })
    this.#generations = new Int32Array(count)
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i)
  }

  /** Gives the lane a slot of a new generation; undefined when all are taken. */
  add(lane: Lane): { readonly slot: number; readonly generation: number } | undefined {
    const slot = this.#free.pop()
    if (slot === undefined) return undefined
    const generation = (this.#generations[slot] ?? 0) + 1
    this.#generations[slot] = generation
    this.#lanes[slot] = lane
    return { slot, generation }
  }

  /** The lane of a record; undefined when it has ended or the record is of an older one. */
  find(slot: number, generation: number): Lane | undefined {
    return this.#generations[slot] === generation ? this.#lanes[slot] : undefined
  }

  /** Marks a lane as ended. Its slot stays taken until `release`. */
  end(slot: number): void {
    this.#lanes[slot] = undefined
  }

  /** Frees the slot when the main thread has released the lane of that generation. */
  release(slot: number, generation: number): void {
    if (this.#generations[slot] === generation) this.#free.push(slot)
  }
}
