/**
 * Addresses of memory that is moved in software: a buffer has one address, on whatever device
 * and however often it is registered, as virtual memory has with real devices.
 *
 * It begins at a place that is drawn, so that a peer learns nothing from addresses; from there on
 * buffers lie one behind the other, so that no two of them are the same place to a peer.
 */

/** Buffers keep the alignment that they have in memory. */
const pageBytes = 4_096
/** Free pages between two buffers: who reaches over the end of one meets nothing. */
const gapPages = 1
/** Addresses must be safe integers. */
const lastPage = 2 ** 41 - 1

/** The addresses of buffers. */
export class AddressSpace {
  readonly #draw: () => number
  readonly #first = new WeakMap<SharedArrayBuffer, number>()
  #next = Infinity

  /** `draw` gives 32 random bits. */
  constructor(draw: () => number) {
    this.#draw = draw
  }

  /** Returns the address of the first byte of a buffer. */
  of(memory: SharedArrayBuffer): number {
    const known = this.#first.get(memory)
    if (known !== undefined) return known
    // It may grow to that, and its address stays.
    const pages = Math.ceil(memory.maxByteLength / pageBytes) + gapPages
    // Behind the end of all addresses it begins anew: what had them is gone by then.
    if (this.#next + pages > lastPage) this.#next = 1 + this.#draw()
    const address = this.#next * pageBytes
    this.#next += pages
    this.#first.set(memory, address)
    return address
  }
}
