/**
 * Goal: messages leave as FPDUs of the agreed size, gathered and not copied, and arrive as they
 * were.
 * Method: batches are read back by the receiving side for sizes around every limit; parts are
 * compared by identity, not only by content.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { type Batch, FpduWriter, mulpdu, Outgoing } from "../../../src/schema/iwarp/FpduWriter.ts"
import { Opcode } from "../../../src/schema/iwarp/Segment.ts"
import { Receiver } from "./receiver.ts"

const crc = Crc32c.make()

const pattern = (length: number, shared = false): Uint8Array => {
  const bytes = new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length))
  for (let k = 0; k < length; k++) bytes[k] = (k * 31 + (k >> 8)) & 255
  return bytes
}

const write = (payload: ReadonlyArray<Uint8Array>, offsetHigh = 0, offsetLow = 0): Outgoing =>
  Object.assign(new Outgoing(), {
    opcode: Opcode.write,
    tagged: true,
    stag: 7,
    offsetHigh,
    offsetLow,
    payload
  })

const send = (sequence: number, payload: ReadonlyArray<Uint8Array>): Outgoing =>
  Object.assign(new Outgoing(), { opcode: Opcode.send, sequence, payload })

/** Puts messages, taking batches as they fill. */
const batches = (writer: FpduWriter, messages: ReadonlyArray<Outgoing>): ReadonlyArray<Batch> => {
  const taken: Array<Batch> = []
  for (const message of messages) while (!writer.put(message)) taken.push(writer.take()!)
  const rest = writer.take()
  return rest === undefined ? taken : [...taken, rest]
}

const receive = (side: Receiver, taken: ReadonlyArray<Batch>) => {
  for (const { parts } of taken) for (const part of parts) side.push(part)
  assert.strictEqual(side.fault, undefined)
}

const sizes = [0, 1, 3, 4, 1023, 1024, 1025, 1428, 1429, 64511, 64512, 64513, 200_003]

describe("the writer", () => {
  it("carries every size, in every segment size, with CRC and without", () => {
    for (const checked of [crc, undefined]) {
      for (const maximumUlpdu of [128, 1442, undefined]) {
        for (const size of sizes) {
          const writer = new FpduWriter({ crc: checked, maximumUlpdu })
          const side = new Receiver(checked)
          const memory = side.register(7, 4096, size + 2)
          side.posted.push(size)
          const payload = pattern(size, true)
          receive(side, batches(writer, [write([payload], 0, 4097), send(1, [payload])]))
          assert.deepStrictEqual(memory.bytes.subarray(1, size + 1), new Uint8Array(payload))
          assert.deepStrictEqual(
            [memory.bytes[0], memory.bytes[size + 1], side.inbound.received],
            [0xaa, 0xaa, size]
          )
          assert.deepStrictEqual(side.receive, new Uint8Array(payload))
        }
      }
    }
  })

  it("keeps FPDUs within a TCP segment when it should", () => {
    assert.deepStrictEqual([1448, 1460, 1500, 9000].map(mulpdu), [1442, 1454, 1494, 8994])
    assert.deepStrictEqual([0, 100_000].map(mulpdu), [128, 64768])
    const writer = new FpduWriter({ crc, maximumUlpdu: mulpdu(1448), copyUpTo: 0 })
    writer.put(write([pattern(5000)]))
    const lengths = writer.take()!.parts.map((part) => part.length)
    // Header, payload, then trailers that are one part with the next header.
    assert.deepStrictEqual(lengths, [16, 1428, 20, 1428, 20, 1428, 20, 716, 4])
  })

  it("refers to long payloads and copies short ones", () => {
    const writer = new FpduWriter({ crc, copyUpTo: 100 })
    const [short, long] = [pattern(100), pattern(101)]
    for (const payload of [short, long, short]) writer.put(write([payload]))
    const { bytes, parts } = writer.take()!
    assert.strictEqual(parts.length, 3)
    assert.strictEqual(parts[1], long)
    const total = 120 + 16 + 101 + 7 + 120
    assert.strictEqual(bytes, total)
    assert.strictEqual(Buffer.concat(parts).length, total)
  })

  it("gathers a payload from pieces, also across segments and with empty ones", () => {
    const whole = pattern(3000)
    const cuts = [0, 0, 1, 700, 700, 2048, 2999, 3000]
    const pieces = cuts.map((cut, k) => whole.subarray(cut, cuts[k + 1] ?? 3000))
    for (const copyUpTo of [0, 64, 4096]) {
      for (const maximumUlpdu of [128, 1442, undefined]) {
        const writer = new FpduWriter({ crc, maximumUlpdu, copyUpTo })
        const side = new Receiver(crc)
        const memory = side.register(7, 0, 3000)
        receive(side, batches(writer, [write(pieces)]))
        assert.deepStrictEqual(memory.bytes, whole)
      }
    }
  })

  it("stops when a batch is full, and goes on with the next", () => {
    const side = new Receiver(undefined)
    const memory = side.register(7, 0, 100_000)
    const writer = new FpduWriter({
      crc: undefined,
      maximumUlpdu: 1014,
      batchBytes: 5000,
      copyUpTo: 0
    })
    const payload = pattern(100_000)
    const taken = batches(writer, [write([payload])])
    assert.isAbove(taken.length, 18)
    for (const { bytes } of taken) assert.isAtMost(bytes, 5000 + 1024)
    receive(side, taken)
    assert.deepStrictEqual(memory.bytes, payload)
  })

  it("stops when its headers have no room, and uses a buffer again once it was written", () => {
    const writer = new FpduWriter({ crc: undefined, frameBytes: 256, copyUpTo: 32 })
    const used = new Set<Uint8Array>()
    const side = new Receiver(undefined)
    const memory = side.register(7, 0, 32 * 100)
    const payload = pattern(3200)
    for (let k = 0; k < 100; k++) {
      const message = write([payload.subarray(k * 32, k * 32 + 32)], 0, k * 32)
      if (writer.put(message)) continue
      const batch = writer.take()!
      assert.isAtMost(batch.frames.length, 256)
      used.add(batch.frames)
      receive(side, [batch])
      writer.recycle(batch)
      assert.isTrue(writer.put(message))
    }
    receive(side, [writer.take()!])
    assert.deepStrictEqual(memory.bytes, payload)
    assert.strictEqual(used.size, 2)
    assert.strictEqual(writer.take(), undefined)
  })

  it("carries the offset over its lower word", () => {
    const writer = new FpduWriter({ crc, maximumUlpdu: 128 })
    const side = new Receiver(crc)
    const base = 0x1_ffff_ff00
    const memory = side.register(7, base, 1000)
    receive(side, batches(writer, [write([pattern(1000)], 1, 0xffff_ff00)]))
    assert.deepStrictEqual(memory.bytes, pattern(1000))
  })

  it("writes zero where no CRC was agreed", () => {
    const writer = new FpduWriter({ crc: undefined })
    writer.put(write([]))
    const written = Buffer.concat(writer.take()!.parts).toString("hex")
    assert.strictEqual(written, "000ec14000000007000000000000000000000000")
  })
})
