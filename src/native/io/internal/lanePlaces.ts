/**
 * The lanes of one worker by their slots, as the main thread sees them. A slot's generation tells
 * records of its lane from records of an older one.
 */
import type { LaneCore } from "./laneHandle.ts"

/** Lanes and their slots. */
export class LanePlaces {
  readonly #lanes: Array<LaneCore | undefined> = []
  readonly #generations: Int32Array
  readonly #slots = new Map<LaneCore, number>()

  constructor(slots: number) {
    this.#generations = new Int32Array(slots)
  }

  get size(): number {
    return this.#slots.size
  }

  get cores(): Iterable<LaneCore> {
    return this.#slots.keys()
  }

  slotOf(core: LaneCore): number | undefined {
    return this.#slots.get(core)
  }

  generationOf(slot: number): number {
    return this.#generations[slot] ?? 0
  }

  /** The lane of a record; undefined when the record is of an older one. */
  find(slot: number, generation: number): LaneCore | undefined {
    return this.#generations[slot] === generation ? this.#lanes[slot] : undefined
  }

  add(core: LaneCore, slot: number, generation: number): void {
    this.#lanes[slot] = core
    this.#generations[slot] = generation
    this.#slots.set(core, slot)
  }

  remove(core: LaneCore): void {
    const slot = this.#slots.get(core)
    if (slot === undefined) return
    this.#slots.delete(core)
    this.#lanes[slot] = undefined
  }

  clear(): void {
    this.#slots.clear()
  }
}
