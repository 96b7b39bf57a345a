/**
 * Small seeded random streams (sfc32). Each concern of a run has a separate stream, so removing a
 * fault from a plan does not change which task is chosen next.
 */

/** Mixes two 32-bit words into one; the basis of every derived seed. */
const mix = (a: number, b: number): number => {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad)
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97)
  return (h ^ (h >>> 15)) >>> 0
}

/** A 32-bit hash of a text (FNV-1a, then mixed). */
export const hashText = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return mix(h, text.length)
}

/** One stream of random numbers. Equal seed and name give equal streams. */
export class Prng {
  #a: number
  #b: number
  #c: number
  #count: number

  constructor(seed: number, name: string) {
    const low = seed >>> 0
    const high = Math.floor(seed / 0x100000000) >>> 0
    const label = hashText(name)
    this.#a = mix(low, label)
    this.#b = mix(high, this.#a)
    this.#c = mix(label, this.#b)
    this.#count = 1
    for (let i = 0; i < 8; i++) this.bits()
  }

  /** 32 random bits, as a signed integer. */
  bits(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#count) | 0
    this.#count = (this.#count + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum
  }

  /** A number in [0, 1) with 53 random bits. */
  double(): number {
    return ((this.bits() >>> 5) * 0x4000000 + (this.bits() >>> 6)) / 0x20000000000000
  }

  /** An integer in [0, limit). `limit` is at most 2^31, so the bias is far below notice. */
  below(limit: number): number {
    return Math.floor(((this.bits() >>> 0) / 0x100000000) * limit)
  }

  /** An integer in [0, 2^bits) of uniform magnitude: small ones are as likely as large ones. */
  byMagnitude(bits: number): number {
    return Math.floor(2 ** (this.double() * bits)) - 1
  }

  /** An integer in [min, max]. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return (this.bits() >>> 0) / 0x100000000 < probability
  }

  /** One of the elements. */
  pick<A>(elements: ReadonlyArray<A>): A {
    return elements[this.below(elements.length)]!
  }
}
