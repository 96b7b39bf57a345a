/**
 * Addresses of memory that is moved in software: a buffer has one address, on every device and at
 * every registration, as virtual memory has with real devices.
 *
 * They begin at a random page, so that a peer learns nothing from addresses; from there on buffers
 * follow each other, so that no two of them share an address.
 */

/** Buffers keep the alignment that they have in memory. */
const pageBytes = 4_096
/** Free pages between two buffers: an access beyond the end of one hits no other. */
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
    // It may grow up to that without a change of its address.
    const pages = Math.ceil(memory.maxByteLength / pageBytes) + gapPages
    // After the last address it starts again: the buffers that had those addresses are gone by
    // then.
    if (this.#next + pages > lastPage) this.#next = 1 + this.#draw()
    const address = this.#next * pageBytes
    this.#next += pages
    this.#first.set(memory, address)
    return address
  }
}
