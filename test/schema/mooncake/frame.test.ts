/**
 * Goal: frames are read however they arrive, written as Mooncake writes them, and bounded.
 * Method: the bytes of the vectors, whole and cut at every byte; lengths and types at each edge.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  defaultLimit,
  encode,
  FrameReader,
  FrameType,
  largestLimit
} from "../../../src/schema/mooncake/Frame.ts"
import { hexOf, bytesOfHex, readerOf, sent, vector, whole } from "./vectors.ts"

/** A length, and what follows it. */
const framed = (length: bigint, ...rest: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(8 + rest.length)
  new DataView(bytes.buffer).setBigUint64(0, length, true)
  bytes.set(rest, 8)
  return bytes
}

describe("a frame", () => {
  it("is what the vectors say, and the same bytes when it is written again", () => {
    assert.isAbove(whole.length, 90)
    for (const { name, sent } of whole) {
      const reader = readerOf(bytesOfHex(sent.hex))
      const { framing, text, type } = reader.frame!
      assert.strictEqual(framing, sent.type! < 4 ? "typed" : "old", name)
      assert.strictEqual(type, framing === "typed" ? sent.type : FrameType.connection, name)
      if (framing === "typed") assert.strictEqual(text, sent.text, name)
      assert.strictEqual(reader.received, sent.hex.length / 2, name)
      assert.strictEqual(hexOf(encode(reader.frame!)), sent.hex, name)
    }
  })

  it("is the same wherever its bytes are cut in two, or one by one", () => {
    for (const { name, sent } of whole) {
      const bytes = bytesOfHex(sent.hex)
      const { frame } = readerOf(bytes)
      for (let cut = 0; cut <= bytes.length; cut++) {
        const reader = readerOf(bytes.subarray(0, cut))
        assert.strictEqual(reader.frame === undefined, cut < bytes.length, name)
        assert.strictEqual(reader.push(bytes.subarray(cut)), bytes.length - cut, name)
        assert.deepStrictEqual(reader.frame, frame, name)
      }
      const reader = new FrameReader()
      for (const byte of bytes) assert.strictEqual(reader.push(Uint8Array.of(byte)), 1)
      assert.deepStrictEqual(reader.frame, frame, name)
    }
  })

  it("leaves what is behind it, in one piece and in two", () => {
    const bytes = bytesOfHex(vector("head.server.probe request").sent.hex)
    const reader = new FrameReader()
    assert.strictEqual(reader.push(Uint8Array.of(...bytes, 1, 2)), bytes.length)
    assert.strictEqual(reader.push(Uint8Array.of(1, 2)), 0)
    const second = readerOf(bytes.subarray(0, 10))
    assert.strictEqual(second.push(Uint8Array.of(...bytes.subarray(10), 1, 2)), bytes.length - 10)
    assert.deepStrictEqual(second.frame, { type: 3, framing: "typed", text: "{}\n" })
  })

  it("may have a type and no text", () => {
    const { frame } = readerOf(framed(1n, 0))
    assert.deepStrictEqual(frame, { type: FrameType.connection, framing: "typed", text: "" })
  })

  it("of old framing has no type, and neither has its reply", () => {
    for (const who of ["head", "legacy"]) {
      for (const side of ["request", "reply"]) {
        const { frame } = readerOf(bytesOfHex(vector(`${who}.server.old-framing ${side}`).sent.hex))
        assert.deepInclude(frame, { type: FrameType.connection, framing: "old" })
        assert.isTrue(frame!.text.startsWith("{"))
      }
    }
    assert.strictEqual(readerOf(framed(1n, 0x7f)).frame?.framing, "old")
    assert.strictEqual(readerOf(framed(1n, 4)).frame?.framing, "old")
  })

  it("holds text of any alphabet, counted in bytes", () => {
    const frame = { type: FrameType.notify, framing: "typed", text: "é中😀" } as const
    const bytes = encode(frame)
    assert.strictEqual(bytes[0], 1 + 2 + 3 + 4)
    assert.deepStrictEqual(readerOf(bytes).frame, frame)
  })
})

describe("a fault of framing", () => {
  it("is a length of zero", () => {
    assert.strictEqual(readerOf(framed(0n)).fault?._tag, "FrameEmpty")
  })

  it("is a length above the limit, which is inclusive, and tells both", () => {
    const { fault } = readerOf(framed(BigInt(defaultLimit) + 1n))
    assert.deepInclude(fault, { _tag: "FrameTooLong", length: defaultLimit + 1, limit: 1_048_576 })
    const reader = readerOf(framed(BigInt(defaultLimit), 0))
    reader.push(new Uint8Array(defaultLimit - 1).fill(0x20))
    assert.strictEqual(reader.frame?.text.length, defaultLimit - 1)
    assert.isUndefined(readerOf(framed(9n), 8).frame)
    assert.strictEqual(readerOf(framed(9n), 8).fault?._tag, "FrameTooLong")
  })

  it("is a length above the largest limit, whatever limit is wished for", () => {
    const limit = largestLimit
    assert.isUndefined(readerOf(framed(BigInt(limit)), Infinity).fault)
    const { fault } = readerOf(framed(BigInt(limit) + 1n), Infinity)
    assert.deepInclude(fault, { _tag: "FrameTooLong", limit })
  })

  it("is a length in big endian order, also the smallest one", () => {
    for (const length of [1n, 225n, BigInt(largestLimit)]) {
      const bytes = framed(0n, 0, 0x7b, 0x7d)
      new DataView(bytes.buffer).setBigUint64(0, length)
      assert.strictEqual(readerOf(bytes, largestLimit).fault?._tag, "FrameTooLong")
    }
  })

  it("is a first byte from 0x80 on, seen as soon as it is there", () => {
    for (const type of [0x80, 0xff]) {
      const { fault } = readerOf(framed(200n, type))
      assert.deepInclude(fault, { _tag: "UnknownFrameType", type })
    }
  })

  it("was answered with a close by Mooncake too, wherever a vector has one", () => {
    const faults = sent.flatMap(({ name, sent }) => {
      const { fault } = readerOf(bytesOfHex(sent.hex))
      return fault === undefined ? [] : [[name.replace(/^.*?\.fault\./, ""), fault._tag]]
    })
    assert.deepStrictEqual(
      new Set(faults.map(String)),
      new Set([
        "zero-length request,FrameEmpty",
        "too-long request,FrameTooLong",
        "type-0x80 request,UnknownFrameType",
        "type-0xff request,UnknownFrameType",
        "big-endian request,FrameTooLong"
      ])
    )
    assert.strictEqual(faults.length, 10)
  })

  it("ends the reading", () => {
    const reader = readerOf(framed(0n))
    assert.strictEqual(reader.push(framed(4n, 3, 0x7b, 0x7d, 0x0a)), 0)
    assert.isUndefined(reader.frame)
  })
})

describe("memory", () => {
  it("is bounded by what arrived, not by the length that was announced", () => {
    const readers: Array<FrameReader> = []
    const before = process.memoryUsage().arrayBuffers
    for (let count = 0; count < 200; count++) {
      readers.push(readerOf(framed(BigInt(largestLimit), 0, 0x7b), largestLimit))
    }
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 1e6)
    assert.isTrue(readers.every(({ received }) => received === 10))
  })
})
