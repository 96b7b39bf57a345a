/**
 * CRC-32C as MPA uses it: checked over every FPDU while its bytes pass by.
 *
 * `make` gives an instance for one thread. With WebAssembly SIMD it runs at memory speed, without
 * it uses tables. Bytes in the instance's `staging` are read in place; all others are copied in
 * first, which costs little because the copy stays in the cache.
 *
 * A CRC is a plain number: start at 0, feed pieces in order, and the last result is the value.
 */

import { copyBytes } from "../copyBytes.ts"
import { blockBytes, freeAt, moduleBytes } from "./internal/crc32cModule.ts"
import { tables, updateByTable } from "./internal/crc32cTables.ts"

export interface Crc32c {
  readonly method: "simd" | "table"
  /** Memory for received bytes, in which they are checked without a copy. */
  readonly staging: Uint8Array<ArrayBuffer>
  /** Continues `crc` over `bytes[from, to)`. */
  readonly update: (crc: number, bytes: Uint8Array, from: number, to: number) => number
}

export interface Options {
  /** Bytes of staging. Default 65536: one read of a socket, and it stays in a cache. */
  readonly stagingBytes?: number | undefined
  /** `false` disables WebAssembly. Default: use it if this machine has it. */
  readonly simd?: boolean | undefined
}

/** Lengths from which a call into WebAssembly pays: with bytes in place, and with a copy. */
const inPlaceFrom = 32
const copyFrom = 192

/** The kernel reads in whole vectors, up to this many bytes past the end. */
const overRead = 16

const pageBytes = 65536

export const make = (options?: Options): Crc32c => {
  const stagingBytes = options?.stagingBytes ?? 65536
  const code = options?.simd === false ? undefined : moduleBytes()
  if (code === undefined || !WebAssembly.validate(code)) {
    return { method: "table", staging: new Uint8Array(stagingBytes), update: updateByTable }
  }
  const stagingAt = freeAt + blockBytes + overRead
  const memory = new WebAssembly.Memory({
    initial: Math.ceil((stagingAt + stagingBytes + overRead) / pageBytes)
  })
  new Int32Array(memory.buffer, 0, tables.length).set(tables)
  const instance = new WebAssembly.Instance(new WebAssembly.Module(code), { e: { m: memory } })
  // The exports of a module are untyped; this one is assembled with exactly this signature.
  const crc = instance.exports["crc"] as (at: number, length: number, state: number) => number
  const staging = new Uint8Array(memory.buffer, stagingAt, stagingBytes)
  return { method: "simd", staging, update: updater(crc, staging) }
}

const updater = (
  run: (at: number, length: number, state: number) => number,
  staging: Uint8Array<ArrayBuffer>
): Crc32c["update"] => {
  const memory = staging.buffer
  const input = new Uint8Array(memory, freeAt, blockBytes)
  return (crc, bytes, from, to) => {
    const length = to - from
    if (length < inPlaceFrom) return updateByTable(crc, bytes, from, to)
    let state = ~crc
    if (bytes.buffer === memory) {
      for (let at = from; at < to; at += blockBytes) {
        state = run(bytes.byteOffset + at, Math.min(blockBytes, to - at), state)
      }
      return ~state >>> 0
    }
    if (length < copyFrom) return updateByTable(crc, bytes, from, to)
    for (let at = from; at < to; at += blockBytes) {
      const end = Math.min(at + blockBytes, to)
      copyBytes(input, 0, bytes, at, end)
      state = run(freeAt, end - at, state)
    }
    return ~state >>> 0
  }
}

/** The CRC of whole bytes, for headers, tests and tools. */
export const ofBytes = (bytes: Uint8Array): number => updateByTable(0, bytes, 0, bytes.length)
