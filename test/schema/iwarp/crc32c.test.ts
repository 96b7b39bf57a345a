/**
 * Goal: every way to compute a CRC-32C gives the same, right value.
 * Method: published check values; then WebAssembly (copied in, in place, from shared memory)
 * against the plain loop over bits, at every length where the method changes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { moduleBytes } from "../../../src/schema/iwarp/internal/crc32cModule.ts"

const bitByBit = (bytes: Uint8Array): number => {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

const sample = (length: number, seed: number): Uint8Array<ArrayBuffer> => {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
}

/** Every short length, and those around which the method changes. */
const lengths = [
  ...Array.from({ length: 70 }, (_, k) => k),
  ..."127 128 191 192 193 255 511 512 513 575 576 1199 1200 1201 1424 4096 16383 16384 16385"
    .concat(" 20011 64512 65535 65536 65537 140001")
    .split(" ")
    .map(Number)
]

const simd = Crc32c.make()
const table = Crc32c.make({ simd: false })
const all = (crc: Crc32c.Crc32c, bytes: Uint8Array) => crc.update(0, bytes, 0, bytes.length)

describe("CRC-32C", () => {
  it("has the published values", () => {
    for (const crc of [simd, table]) {
      assert.strictEqual(all(crc, new TextEncoder().encode("123456789")), 0xe3069283)
      assert.strictEqual(all(crc, new Uint8Array(32)), 0x8a9136aa)
      assert.strictEqual(all(crc, new Uint8Array(32).fill(0xff)), 0x62a8ab43)
    }
    assert.strictEqual(Crc32c.ofBytes(new Uint8Array(32)), 0x8a9136aa)
  })

  it("uses WebAssembly where it can, and tables where it may not", () => {
    assert.strictEqual(simd.method, "simd")
    assert.strictEqual(table.method, "table")
    assert.isTrue(WebAssembly.validate(moduleBytes()))
  })

  it("agrees with the definition at every length, wherever the bytes lie", () => {
    for (const length of lengths) {
      const bytes = sample(length, length + 1)
      const expected = bitByBit(bytes)
      const shared = new Uint8Array(new SharedArrayBuffer(length + 3), 3)
      shared.set(bytes)
      assert.strictEqual(all(simd, bytes), expected, `copied, ${length}`)
      assert.strictEqual(all(simd, shared), expected, `shared, ${length}`)
      assert.strictEqual(all(table, bytes), expected, `tables, ${length}`)
      if (length > simd.staging.length) continue
      simd.staging.fill(0xee)
      simd.staging.set(bytes)
      assert.strictEqual(simd.update(0, simd.staging, 0, length), expected, `staged, ${length}`)
    }
  })

  it("goes on where it stopped", () => {
    const bytes = sample(5000, 7)
    const expected = bitByBit(bytes)
    for (const crc of [simd, table]) {
      for (let cut = 0; cut <= bytes.length; cut += 97) {
        const first = crc.update(0, bytes, 0, cut)
        assert.strictEqual(crc.update(first, bytes, cut, bytes.length), expected, `cut at ${cut}`)
      }
    }
  })

  it("has as much staging as was asked for, and uses all of it", () => {
    const crc = Crc32c.make({ stagingBytes: 100_000 })
    assert.strictEqual(crc.staging.length, 100_000)
    crc.staging.set(sample(100_000, 3))
    assert.strictEqual(crc.update(0, crc.staging, 0, 100_000), all(table, crc.staging))
  })
})
