/**
 * Goal: the answer to a peer's read takes memory by what is sent of it, not by what was asked.
 * Method: answers are made over a region of 2 GiB whose pages are never touched, and put into a
 * writer batch by batch; the pieces and bytes that they hold are counted.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { FpduWriter } from "../../../src/schema/iwarp/FpduWriter.ts"
import { Opcode } from "../../../src/schema/iwarp/Segment.ts"
import { PendingResponse } from "../../../src/native/iwarp/responder.ts"
import { RegionTable, Right } from "../../../src/native/iwarp/regionTable.ts"
import { TaggedBuffer } from "../../../src/native/iwarp/placement.ts"
import { Receiver } from "../../schema/iwarp/receiver.ts"

const batchBytes = 524_288
/** The bound of what an answer holds: a batch, and a last piece and FPDU beyond it. */
const heldLimit = 2 * batchBytes

const key = 0x1234
const sinkOver = (bytes: Uint8Array<SharedArrayBuffer>): [RegionTable, TaggedBuffer] => {
  const table = new RegionTable()
  const { length } = bytes
  const entry = { buffer: 1, domain: 1, rights: Right.remoteRead, offset: 0, length, address: 0 }
  table.add(0, entry)
  assert.isTrue(table.grant(key, 0))
  return [table, new TaggedBuffer(table, key, 0, Right.remoteRead, () => bytes)]
}

const request = (stag: number, length: number): Uint8Array => {
  const view = new DataView(new ArrayBuffer(28))
  view.setUint32(0, stag)
  view.setUint32(12, length)
  return new Uint8Array(view.buffer)
}

const held = ({ payload }: PendingResponse): number =>
  payload.reduce((sum, part) => sum + part.length, 0)

describe("the answer to a read", () => {
  it("L4: holds nothing before its turn, and about a batch during it", () => {
    const length = 2 ** 31
    const [, sink] = sinkOver(new Uint8Array(new SharedArrayBuffer(length)))
    const answers = Array.from({ length: 128 }, () =>
      PendingResponse.toRead(request(7, length), sink, 0)
    )
    const parts = answers.reduce((sum, { payload }) => sum + payload.length, 0)
    assert.strictEqual(parts, 0)
    const writer = new FpduWriter({ crc: undefined, batchBytes })
    const [first] = answers
    for (let batch = 1; batch <= 16; batch++) {
      assert.isTrue(first!.prepare(batchBytes))
      assert.isFalse(writer.put(first!))
      assert.isAtMost(held(first!), heldLimit)
      assert.isAtMost(first!.payload.length, 16)
      assert.isAtLeast(writer.take()!.bytes, batchBytes)
    }
    assert.isAtLeast(first!.written, 16 * (batchBytes - 65_536))
  })

  it("L4: arrives whole, in messages of every length around a piece", () => {
    for (const checked of [Crc32c.make(), undefined]) {
      for (const length of [0, 1, 1024, 1025, 131_071, 131_072, 131_073, 700_001, 1_048_576]) {
        const bytes = new Uint8Array(new SharedArrayBuffer(length + 8))
        for (let k = 0; k < bytes.length; k++) bytes[k] = (k * 31 + (k >> 8)) & 255
        const [, sink] = sinkOver(bytes)
        const answer = PendingResponse.toRead(
          request(7, length),
          length === 0 ? undefined : sink,
          5
        )
        const writer = new FpduWriter({ crc: checked, batchBytes })
        const side = new Receiver(checked)
        const memory = side.register(7, 0, length)
        side.inbound.outstanding.read(7, 0, 0, length, memory, 0)
        for (let isPut = false; !isPut;) {
          assert.isTrue(answer.prepare(batchBytes))
          isPut = writer.put(answer)
          for (const part of writer.take()!.parts) side.push(part)
        }
        assert.deepStrictEqual([side.fault, side.deliveries], [undefined, ["readDone"]])
        assert.deepStrictEqual(memory.bytes, Uint8Array.from(bytes.subarray(5, 5 + length)))
        assert.strictEqual(answer.opcode, Opcode.readResponse)
      }
    }
  })

  it("L4: ends when the key is void, also in the middle", () => {
    const [table, sink] = sinkOver(new Uint8Array(new SharedArrayBuffer(4 * batchBytes)))
    const answer = PendingResponse.toRead(request(7, 4 * batchBytes), sink, 0)
    const writer = new FpduWriter({ crc: undefined, batchBytes })
    assert.isTrue(answer.prepare(batchBytes))
    assert.isFalse(writer.put(answer))
    table.invalidate(key)
    assert.isFalse(answer.prepare(batchBytes))
  })
})
