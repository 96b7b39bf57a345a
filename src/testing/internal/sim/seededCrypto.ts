/** Random bytes and UUIDs of a run. */
import type { Prng } from "./prng.ts"

const hex = (byte: number): string => byte.toString(16).padStart(2, "0")

/** Seeded random bytes and UUIDs; ciphers and digests stay the platform's. */
export class SeededCrypto implements Crypto {
  readonly #prng: Prng

  constructor(prng: Prng) {
    this.#prng = prng
  }

  get subtle(): SubtleCrypto {
    return globalThis.crypto.subtle
  }

  getRandomValues<T extends ArrayBufferView | null>(array: T): T {
    if (array === null) return array
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#prng.bits()
    return array
  }

  randomUUID(): `${string}-${string}-${string}-${string}-${string}` {
    const bytes = this.getRandomValues(new Uint8Array(16))
    bytes[6] = (bytes[6]! & 0x0f) | 0x40
    bytes[8] = (bytes[8]! & 0x3f) | 0x80
    const text = Array.from(bytes, hex).join("")
    const part = (from: number, to: number) => text.slice(from, to)
    return `${part(0, 8)}-${part(8, 12)}-${part(12, 16)}-${part(16, 20)}-${part(20, 32)}`
  }
}
