/**
 * Goal: the Schema of the messages and the codecs over bytes describe the same thing.
 * Method: properties over values that the Schema generates; the shown form of every vector.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { FpduParser, Step } from "../../../src/schema/iwarp/FpduParser.ts"
import { FpduWriter, Outgoing } from "../../../src/schema/iwarp/FpduWriter.ts"
import { Message } from "../../../src/schema/iwarp/Message.ts"
import { decode, encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import * as Mpa from "../../../src/schema/iwarp/Mpa.ts"
import { applyAtomic, type AtomicRequest } from "../../../src/schema/iwarp/RdmapHeader.ts"
import * as Segment from "../../../src/schema/iwarp/Segment.ts"
import { StartupFrame } from "../../../src/schema/iwarp/StartupFrame.ts"
import { hexOf } from "./vectors.ts"

const crc = Crc32c.make()
const runs = { arbitrary: { runs: 400 } }

/** A Terminate's attached header has the length that its own first byte says. */
const headerLike = (bytes: Uint8Array): Uint8Array => {
  const header = new Uint8Array(bytes[0]! & 0x80 ? 14 : 18)
  header.set(bytes.subarray(0, header.length))
  return header
}

const sized = (message: Message): Message => {
  if (message._tag !== "Terminate") return message
  const { terminatedDdpHeader: ddp, terminatedRdmaHeader: rdma, ...rest } = message
  delete rest.order
  return {
    ...rest,
    // Without any header, a reader cannot tell the order of layer and type.
    ddpSegLen: rest.ddpSegLen ?? 0,
    ...(ddp !== undefined && { terminatedDdpHeader: headerLike(ddp) }),
    ...(rdma !== undefined && { terminatedRdmaHeader: new Uint8Array(28).fill(rdma.length) })
  }
}

const messages = Arbitrary.schema(Message).pipe(Arbitrary.map(sized))

const parse = (bytes: Uint8Array) => {
  const parser = new FpduParser({ crc })
  const payload: Array<number> = []
  parser.feed(bytes, 0, bytes.length)
  for (let step = parser.next(); step !== Step.complete; step = parser.next()) {
    assert.isTrue(step === Step.header || step === Step.payload)
    if (step === Step.payload) payload.push(...bytes.subarray(parser.from, parser.to))
  }
  const { control, controlLength, segment } = parser
  const gathered = control.slice(0, controlLength)
  return { segment, payload: controlLength > 0 ? gathered : Uint8Array.from(payload) }
}

const seen = new Set<string>()

describe("messages", () => {
  it.prop(
    "are what they were after bytes and back, and the parser agrees",
    [messages],
    ([message]) => {
      seen.add(message._tag)
      const bytes = encode(message, crc)
      const { payload, segment } = parse(bytes)
      const again = decode(segment, payload)
      assert.deepStrictEqual(again, message)
      assert.isTrue(Schema.is(Message)(again))
      assert.strictEqual(hexOf(encode(again!, crc)), hexOf(bytes))
    },
    runs
  )

  it("were of every kind", () => assert.strictEqual(seen.size, 9))

  it.prop("are what they were after their shown form and back", [messages], ([message]) => {
    const shown = JSON.stringify(Schema.encodeSync(Message)(message))
    assert.deepStrictEqual(Schema.decodeUnknownSync(Message)(JSON.parse(shown)), message)
  })

  it.prop(
    "are the same bytes from the writer, as long as one FPDU holds them",
    [messages],
    ([message]) => {
      const bytes = encode(message, crc)
      const { payload, segment } = parse(bytes)
      const outgoing = Object.assign(new Outgoing(), {
        opcode: segment.opcode,
        tagged: segment.tagged,
        stag: segment.stag,
        offsetHigh: segment.offsetHigh,
        offsetLow: segment.offsetLow,
        queue: segment.queue,
        sequence: segment.sequence,
        payload: [payload]
      })
      // The writer starts messages at their beginning and ends them.
      if (!segment.last || segment.messageOffset > 0) return
      const writer = new FpduWriter({ crc })
      assert.isTrue(writer.put(outgoing))
      assert.strictEqual(hexOf(Buffer.concat(writer.take()!.parts)), hexOf(bytes))
    },
    runs
  )
})

describe("start-up frames", () => {
  it.prop("are what they were after bytes and back", [StartupFrame], ([frame]) => {
    const bytes = Mpa.encode(frame)
    const reader = new Mpa.MpaReader(frame.kind)
    assert.strictEqual(reader.push(bytes, 0, bytes.length), bytes.length)
    assert.deepStrictEqual(reader.frame, frame)
    assert.isTrue(Schema.is(StartupFrame)(reader.frame))
  })
})

describe("segments", () => {
  const Word = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff_ffff }))
  const Bytes = Schema.Array(
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
  ).check(Schema.isBetweenLength(20, 20))

  it.prop("keep every bit of a header, also reserved ones", [Bytes], ([header]) => {
    const segment = new Segment.Segment()
    const bytes = Uint8Array.from(header)
    Segment.read(segment, bytes, 0)
    const out = new Uint8Array(20)
    const length = Segment.write(new DataView(out.buffer), 0, segment)
    assert.strictEqual(length, Segment.headerBytesAt(bytes, 0))
    assert.deepStrictEqual(out.subarray(0, length), bytes.subarray(0, length))
  })

  it.prop("are told apart after being used for the other kind", [Word, Word], ([a, b]) => {
    const segment = Segment.tagged(new Segment.Segment(), 0, true, a, a, b, 1)
    Segment.untagged(segment, 3, false, 0, 0, b, a, 2)
    const fresh = Segment.untagged(new Segment.Segment(), 3, false, 0, 0, b, a, 2)
    assert.deepStrictEqual(segment, fresh)
  })
})

describe("atomic operations", () => {
  const base: AtomicRequest = {
    operation: "fetchAdd",
    request: 1,
    stag: 1,
    offset: 0n,
    data: 1n,
    mask: 0n,
    compare: 0n,
    compareMask: 0n
  }
  const all = 0xffff_ffff_ffff_ffffn

  it("add within the whole word, or within fields without a carry between them", () => {
    assert.strictEqual(applyAtomic(41n, base), 42n)
    assert.strictEqual(applyAtomic(all, base), 0n)
    const mask = 0x8000_0000_0000_0080n
    assert.strictEqual(applyAtomic(0xffn, { ...base, mask }), 0n)
    assert.strictEqual(applyAtomic(0xffn, base), 0x100n)
    assert.strictEqual(applyAtomic(all, { ...base, data: 0x100n, mask }), 0xffn)
  })

  it("swap the masked bits if the compared ones match", () => {
    const swap: AtomicRequest = {
      ...base,
      operation: "compareSwap",
      data: 0x55n,
      mask: 0xffn,
      compare: 0x44n,
      compareMask: 0xffn
    }
    assert.strictEqual(applyAtomic(0x1244n, swap), 0x1255n)
    assert.strictEqual(applyAtomic(0x1245n, swap), 0x1245n)
    assert.strictEqual(applyAtomic(0x1245n, { ...swap, compareMask: 0n }), 0x1255n)
    assert.strictEqual(
      applyAtomic(7n, { ...swap, mask: all, compare: 7n, compareMask: all }),
      0x55n
    )
  })
})
