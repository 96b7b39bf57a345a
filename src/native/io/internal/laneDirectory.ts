/**
 * The lanes of one worker by their slots, on the main thread. A slot's generation distinguishes
 * records of its lane from those of an older one.
 */
import type { LaneHandle } from "./laneHandle.ts"

/** Lanes and their slots. */
export class LaneDirectory {
  readonly #lanes: Array<LaneHandle | undefined> = []
  readonly #generations: Int32Array
  readonly #slots = new Map<LaneHandle, number>()

  constructor(slots: number) {
    this.#generations = new Int32Array(slots)
  }

  get size(): number {
    return this.#slots.size
  }

  get all(): Iterable<LaneHandle> {
    return this.#slots.keys()
  }

  slotOf(handle: LaneHandle): number | undefined {
    return this.#slots.get(handle)
  }

  generationOf(slot: number): number {
    return this.#generations[slot] ?? 0
  }

  /** The lane of a record; undefined when the record is of an older one. */
  find(slot: number, generation: number): LaneHandle | undefined {
    return this.#generations[slot] === generation ? this.#lanes[slot] : undefined
  }

  add(handle: LaneHandle, slot: number, generation: number): void {
    this.#lanes[slot] = handle
    this.#generations[slot] = generation
    this.#slots.set(handle, slot)
  }

  remove(handle: LaneHandle): void {
    const slot = this.#slots.get(handle)
    if (slot === undefined) return
    this.#slots.delete(handle)
    this.#lanes[slot] = undefined
  }

  clear(): void {
    this.#slots.clear()
  }
}
