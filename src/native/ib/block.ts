/**
 * Memory for structs that native code reads or fills.
 *
 * It is a `SharedArrayBuffer`: V8 keeps that outside of its heap and never moves it. A pointer does
 * not keep it alive, so a caller must hold the block until the call that has its address returns.
 */
import type { Libraries, Pointer } from "./library.ts"

const twoTo32 = 0x1_0000_0000

/** Writes an address, or another integer below 2^53, as 64 bits. */
export const setAddress = (view: DataView, at: number, value: number): void => {
  view.setUint32(at, value >>> 0, true)
  view.setUint32(at + 4, Math.floor(value / twoTo32), true)
}

/** Reads 64 bits as a number; beyond 2^53 it is not exact. */
export const getAddress = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * twoTo32 + view.getUint32(at, true)

/** A zeroed block. */
export class Block {
  readonly address: Pointer
  readonly view: DataView<SharedArrayBuffer>
  readonly bytes: Uint8Array<SharedArrayBuffer>

  constructor(libraries: Libraries, length: number) {
    const memory = new SharedArrayBuffer(length)
    this.address = libraries.addressOf(memory)
    this.view = new DataView(memory)
    this.bytes = new Uint8Array(memory)
  }

  pointer(at: number): Pointer {
    return getAddress(this.view, at)
  }
}
