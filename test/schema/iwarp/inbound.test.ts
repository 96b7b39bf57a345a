/**
 * Goal: a peer can do what it may, and whatever else it tries gets the right Terminate and leaves
 * no byte behind.
 * Method: each check of the receiving side is violated once; the answer's layer, type, code and
 * attached headers are compared, and so is all memory.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import type { Message } from "../../../src/schema/iwarp/Message.ts"
import { encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import { Segment } from "../../../src/schema/iwarp/Segment.ts"
import {
  Cause,
  causeOf,
  decode,
  encode as encodeTerminate
} from "../../../src/schema/iwarp/Terminate.ts"
import { type Memory, Receiver } from "./receiver.ts"
import { hexOf, bytesOfHex } from "./vectors.ts"

const crc = Crc32c.make()
const bytes = (...numbers: ReadonlyArray<number>) => Uint8Array.from(numbers)
const eight = bytes(1, 2, 3, 4, 5, 6, 7, 8)

const stags = { open: 0x100, foreign: 0x200, readOnly: 0x300, writeOnly: 0x400, unknown: 0x900 }
const base = 0x1000
const top = 0xffff_ffff_ffff_fff8n

const receiver = (limits?: { ird: number; ord: number }) => {
  const side = new Receiver(crc, limits)
  const none = { remoteWrite: false, remoteRead: false, remoteAtomic: false }
  const regions = [
    side.register(stags.open, base, 64),
    side.register(stags.foreign, base, 64, { domain: 2 }),
    side.register(stags.readOnly, base, 64, { ...none, remoteRead: true }),
    side.register(stags.writeOnly, base, 64, { ...none, remoteWrite: true })
  ]
  return { side, regions }
}

const write = (stag: number, to: bigint, payload: Uint8Array, last: 0 | 1 = 1): Message => ({
  _tag: "Write",
  last,
  stag,
  to,
  payload
})
const send = (msn: number, payload: Uint8Array, rest: Partial<Message> = {}): Message =>
  ({ _tag: "Send", last: 1, solicited: 0, msn, mo: 0, payload, ...rest }) as Message
const read = (msn: number, srcStag: number, srcTo: bigint, readSize = 8): Message => ({
  _tag: "ReadRequest",
  msn,
  sinkStag: 7,
  sinkTo: 0n,
  readSize,
  srcStag,
  srcTo
})
const swap = (msn: number, remoteStag: number, remoteTo: bigint): Message => ({
  _tag: "CompareSwap",
  msn,
  requestId: 5,
  remoteStag,
  remoteTo,
  swapData: 1n,
  swapMask: 1n,
  compareData: 0n,
  compareMask: 0n
})
const immediate = (msn: number): Message => ({
  _tag: "Immediate",
  solicited: 0,
  msn,
  payload: 9n
})
const response = (stag: number, to: bigint, payload: Uint8Array, last: 0 | 1 = 1): Message => ({
  _tag: "ReadResponse",
  last,
  stag,
  to,
  payload
})
const atomicResponse = (msn: number, originalRequestId: number): Message => ({
  _tag: "AtomicResponse",
  msn,
  originalRequestId,
  originalValue: 1n
})
const terminate = (msn: number): Message => ({
  _tag: "Terminate",
  msn,
  layer: 0,
  etype: 0,
  code: 0
})

/** Changes bytes of an FPDU and makes its CRC right again. */
const forged = (message: Message, change: (fpdu: Uint8Array) => void, cut = 0) => {
  const whole = encode(message, undefined)
  const fpdu = whole.slice(0, whole.length - cut)
  change(fpdu)
  const end = fpdu.length - 4
  new DataView(fpdu.buffer).setUint32(end, Crc32c.ofBytes(fpdu.subarray(0, end)), true)
  return fpdu
}
const setByte = (at: number, value: number) => (fpdu: Uint8Array) => {
  fpdu[at] = value
}

interface Violation {
  readonly name: string
  readonly cause: Cause
  readonly frames: ReadonlyArray<Message | Uint8Array>
  readonly posted?: ReadonlyArray<number>
  readonly ird?: number
  readonly prepare?: (side: Receiver) => void
}

const at = BigInt(base)
const expectRead = (side: Receiver) => side.inbound.outstanding.read(7, 0, 0, 8, undefined, 0)

const tagged: ReadonlyArray<Violation> = [
  {
    name: "unknown STag",
    cause: Cause.taggedInvalidStag,
    frames: [write(stags.unknown, at, eight)]
  },
  {
    name: "STag of another domain",
    cause: Cause.taggedNotAssociated,
    frames: [write(stags.foreign, at, eight)]
  },
  {
    name: "no right to write",
    cause: Cause.taggedInvalidStag,
    frames: [write(stags.readOnly, at, eight)]
  },
  {
    name: "below the region",
    cause: Cause.taggedBounds,
    frames: [write(stags.open, at - 1n, eight)]
  },
  {
    name: "past the region",
    cause: Cause.taggedBounds,
    frames: [write(stags.open, at + 57n, eight)]
  },
  { name: "far outside", cause: Cause.taggedBounds, frames: [write(stags.open, 1n << 60n, eight)] },
  {
    name: "up to the last byte there can be",
    cause: Cause.taggedBounds,
    frames: [write(stags.open, top, eight)]
  },
  {
    name: "offset wraps",
    cause: Cause.taggedOffsetWraps,
    frames: [write(stags.open, top + 1n, eight)]
  },
  {
    name: "DDP version",
    cause: Cause.taggedVersion,
    frames: [forged(write(stags.open, at, eight), setByte(2, 0xc2))]
  },
  {
    name: "RDMAP version",
    cause: Cause.rdmapVersion,
    frames: [forged(write(stags.open, at, eight), setByte(3, 0x80))]
  },
  {
    name: "Send in a tagged segment",
    cause: Cause.unexpectedOpcode,
    frames: [forged(write(stags.open, at, eight), setByte(3, 0x43))]
  },
  {
    name: "opcode out of range",
    cause: Cause.unexpectedOpcode,
    frames: [forged(write(stags.open, at, eight), setByte(3, 0x4c))]
  },
  {
    name: "response nobody asked for",
    cause: Cause.unexpectedOpcode,
    frames: [response(7, 0n, eight)]
  },
  {
    name: "response for another sink",
    cause: Cause.taggedInvalidStag,
    prepare: expectRead,
    frames: [response(8, 0n, eight)]
  },
  {
    name: "response at another offset",
    cause: Cause.taggedBounds,
    prepare: expectRead,
    frames: [response(7, 1n, eight)]
  },
  {
    name: "response too short",
    cause: Cause.taggedBounds,
    prepare: expectRead,
    frames: [response(7, 0n, bytes(1))]
  },
  {
    name: "response too long",
    cause: Cause.taggedBounds,
    prepare: expectRead,
    frames: [response(7, 0n, bytes(...eight, 9))]
  },
  {
    name: "response without an end",
    cause: Cause.taggedBounds,
    prepare: expectRead,
    frames: [response(7, 0n, eight, 0)]
  },
  {
    name: "read answered for an atomic",
    cause: Cause.unexpectedOpcode,
    prepare: (side) => side.inbound.outstanding.atomic(5),
    frames: [response(7, 0n, eight)]
  }
]

const untagged: ReadonlyArray<Violation> = [
  { name: "no receive posted", cause: Cause.noBuffer, frames: [send(1, eight)] },
  {
    name: "one Send more than receives",
    cause: Cause.noBuffer,
    posted: [8],
    frames: [send(1, eight), send(2, eight)]
  },
  { name: "no receive for an empty Send", cause: Cause.noBuffer, frames: [send(1, bytes())] },
  { name: "no receive for immediate data", cause: Cause.noBuffer, frames: [immediate(1)] },
  { name: "too long for its receive", cause: Cause.tooLong, posted: [7], frames: [send(1, eight)] },
  {
    name: "too long in its second segment",
    cause: Cause.tooLong,
    posted: [12],
    frames: [send(1, eight, { last: 0 }), send(1, eight, { mo: 8 })]
  },
  {
    name: "sequence number skipped",
    cause: Cause.sequenceRange,
    posted: [8],
    frames: [send(2, eight)]
  },
  {
    name: "sequence number repeated",
    cause: Cause.sequenceRange,
    posted: [8, 8],
    frames: [send(1, eight), send(1, eight)]
  },
  {
    name: "next message before the end of this one",
    cause: Cause.sequenceRange,
    posted: [99, 99],
    frames: [send(1, eight, { last: 0 }), send(2, eight)]
  },
  {
    name: "gap within a message",
    cause: Cause.invalidMessageOffset,
    posted: [99],
    frames: [send(1, eight, { last: 0 }), send(1, eight, { mo: 9 })]
  },
  {
    name: "start not at zero",
    cause: Cause.invalidMessageOffset,
    posted: [99],
    frames: [send(1, eight, { mo: 8 })]
  },
  {
    name: "another opcode within a message",
    cause: Cause.unexpectedOpcode,
    posted: [99],
    frames: [send(1, eight, { last: 0 }), send(1, eight, { mo: 8, solicited: 1 })]
  },
  {
    name: "DDP version",
    cause: Cause.untaggedVersion,
    posted: [8],
    frames: [forged(send(1, eight), setByte(2, 0x40))]
  },
  {
    name: "RDMAP version",
    cause: Cause.rdmapVersion,
    posted: [8],
    frames: [forged(send(1, eight), setByte(3, 0x03))]
  },
  {
    name: "queue out of range",
    cause: Cause.invalidQueue,
    posted: [8],
    frames: [forged(send(1, eight), setByte(11, 4))]
  },
  {
    name: "Send on the queue of requests",
    cause: Cause.unexpectedOpcode,
    posted: [8],
    frames: [forged(send(1, eight), setByte(11, 1))]
  },
  {
    name: "Write in an untagged segment",
    cause: Cause.unexpectedOpcode,
    posted: [8],
    frames: [forged(send(1, eight), setByte(3, 0x40))]
  },
  {
    name: "invalidates an unknown STag",
    cause: Cause.cannotInvalidate,
    posted: [8],
    frames: [send(1, eight, { invalidateStag: stags.unknown })]
  },
  {
    name: "invalidates an STag of another domain",
    cause: Cause.cannotInvalidate,
    posted: [8],
    frames: [send(1, eight, { invalidateStag: stags.foreign })]
  },
  {
    name: "immediate data too long",
    cause: Cause.tooLong,
    posted: [99],
    frames: [forged(send(1, bytes(...eight, 9)), setByte(3, 0x48))]
  },
  {
    name: "immediate data too short",
    cause: Cause.operation,
    posted: [99],
    frames: [forged(send(1, bytes(1, 2)), setByte(3, 0x48))]
  }
]

const requests: ReadonlyArray<Violation> = [
  {
    name: "read of an unknown STag",
    cause: Cause.invalidStag,
    frames: [read(1, stags.unknown, at)]
  },
  {
    name: "read in another domain",
    cause: Cause.notAssociated,
    frames: [read(1, stags.foreign, at)]
  },
  { name: "no right to read", cause: Cause.accessRights, frames: [read(1, stags.writeOnly, at)] },
  { name: "read out of bounds", cause: Cause.bounds, frames: [read(1, stags.open, at + 60n)] },
  {
    name: "read of more than there is",
    cause: Cause.bounds,
    frames: [read(1, stags.open, at, 0xffff_ffff)]
  },
  { name: "read that wraps", cause: Cause.offsetWraps, frames: [read(1, stags.open, top + 1n)] },
  {
    name: "more reads than agreed",
    cause: Cause.streamCatastrophe,
    ird: 1,
    frames: [read(1, stags.open, at), read(2, stags.open, at)]
  },
  {
    name: "a read where none were agreed",
    cause: Cause.streamCatastrophe,
    ird: 0,
    frames: [read(1, stags.open, at)]
  },
  { name: "read out of sequence", cause: Cause.sequenceRange, frames: [read(2, stags.open, at)] },
  {
    name: "read request at an offset",
    cause: Cause.invalidMessageOffset,
    frames: [forged(read(1, stags.open, at), setByte(19, 4))]
  },
  {
    name: "read request cut short",
    cause: Cause.operation,
    frames: [forged(read(1, stags.open, at), setByte(1, 42), 4)]
  },
  {
    name: "read request in pieces",
    cause: Cause.operation,
    frames: [forged(read(1, stags.open, at), setByte(2, 0x01))]
  },
  {
    name: "atomic with an unknown STag",
    cause: Cause.invalidStag,
    frames: [swap(1, stags.unknown, at)]
  },
  { name: "no right to atomics", cause: Cause.accessRights, frames: [swap(1, stags.readOnly, at)] },
  { name: "atomic out of bounds", cause: Cause.bounds, frames: [swap(1, stags.open, at + 64n)] },
  {
    name: "atomic off its boundary",
    cause: Cause.operation,
    frames: [swap(1, stags.open, at + 4n)]
  },
  {
    name: "unknown atomic operation",
    cause: Cause.unexpectedOpcode,
    frames: [forged(swap(1, stags.open, at), setByte(23, 1))]
  },
  {
    name: "reads and atomics share a sequence",
    cause: Cause.sequenceRange,
    frames: [read(1, stags.open, at), swap(1, stags.open, at)]
  },
  {
    name: "atomic response nobody asked for",
    cause: Cause.unexpectedOpcode,
    frames: [atomicResponse(1, 5)]
  },
  {
    name: "atomic response to another request",
    cause: Cause.operation,
    prepare: (side) => side.inbound.outstanding.atomic(5),
    frames: [atomicResponse(1, 6)]
  }
]

const run = ({ frames, ird = 4, posted = [], prepare }: Violation) => {
  const { regions, side } = receiver({ ird, ord: 4 })
  side.posted.push(...posted)
  prepare?.(side)
  for (const frame of frames) side.push(frame instanceof Uint8Array ? frame : encode(frame, crc))
  return { side, regions }
}

const untouched = (regions: ReadonlyArray<Memory>) =>
  regions.every((region) => region.bytes.every((value) => value === 0xaa))

describe("what a peer may not do", () => {
  for (const violation of [...tagged, ...untagged, ...requests]) {
    const { cause, name } = violation
    it(`${name}: ${cause.name}`, () => {
      const { regions, side } = run(violation)
      const { code, layer, type } = cause
      const last = violation.frames.at(-1)!
      const fpdu = last instanceof Uint8Array ? last : encode(last, crc)
      assert.strictEqual(side.fault?._tag, "Refused")
      assert.isTrue(untouched(regions))
      const answer = decode(side.terminate()!)!
      assert.deepStrictEqual([answer.layer, answer.type, answer.code], [layer, type, code])
      const ulpdu = new DataView(fpdu.buffer).getUint16(0)
      assert.strictEqual(answer.segmentLength, ulpdu)
      const header = fpdu[2]! & 0x80 ? 14 : 18
      assert.strictEqual(hexOf(answer.ddpHeader!), hexOf(fpdu.subarray(2, 2 + header)))
      const withRequest = layer === 0 && type === 1 && (fpdu[3]! & 15) === 1
      const request = withRequest ? hexOf(fpdu.subarray(20, 48)) : undefined
      assert.strictEqual(answer.rdmapHeader && hexOf(answer.rdmapHeader), request)
    })
  }

  it("is not held against it when the line was at fault: the CRC speaks first", () => {
    for (const { frames, prepare, posted = [] } of [...tagged, ...untagged, ...requests]) {
      const { regions, side } = receiver()
      side.posted.push(...posted)
      prepare?.(side)
      const frame = frames.at(-1)!
      const fpdu = frame instanceof Uint8Array ? frame.slice() : encode(frame, crc)
      fpdu[fpdu.length - 1]! ^= 1
      side.push(fpdu)
      assert.strictEqual(side.fault?._tag, "CrcMismatch")
      assert.strictEqual(hexOf(side.terminate()!), "20020000")
      assert.isTrue(untouched(regions))
    }
  })

  it("after its Terminate, nothing is placed, delivered or answered", () => {
    const { regions, side } = receiver()
    side.posted.push(8)
    for (const frame of [
      terminate(1),
      terminate(2),
      send(1, eight),
      write(stags.open, at, eight)
    ]) {
      side.push(encode(frame, crc))
    }
    assert.deepStrictEqual(side.deliveries, ["terminate"])
    assert.deepStrictEqual([side.fault, side.terminate()], [undefined, undefined])
    assert.deepStrictEqual(side.posted, [8])
    assert.isTrue(untouched(regions))
  })

  it("a second Terminate is not needed to know the first", () => {
    const { side } = receiver()
    side.push(encode(terminate(2), crc))
    assert.deepStrictEqual(side.fault, {
      _tag: "Refused",
      layer: 1,
      type: 2,
      code: 3,
      opcode: 7
    })
  })
})

describe("what a peer may do", () => {
  it("write up to the last byte of a region, and read and change what it has", () => {
    const { regions, side } = receiver()
    for (const frame of [
      write(stags.open, at, eight),
      write(stags.open, at + 56n, eight),
      read(1, stags.readOnly, at + 56n),
      swap(2, stags.open, at + 56n)
    ]) {
      side.push(encode(frame, crc))
    }
    assert.strictEqual(side.fault, undefined)
    const expected = new Uint8Array(64).fill(0xaa)
    expected.set(eight)
    expected.set(eight, 56)
    assert.deepStrictEqual(regions[0]!.bytes, expected)
    assert.isTrue(untouched(regions.slice(1)))
    assert.deepStrictEqual(side.deliveries, ["readRequest", "atomicRequest"])
    assert.deepStrictEqual([side.inbound.region, side.inbound.at], [regions[0], 56])
  })

  it("write and read nothing, wherever that is: the ready signals", () => {
    const { side } = receiver()
    side.push(encode(write(1, 0n, bytes()), crc))
    side.push(encode(read(1, 1, 0n, 0), crc))
    assert.strictEqual(side.fault, undefined)
    assert.deepStrictEqual(side.deliveries, ["readRequest"])
  })

  it("send in segments, with a Write in between, into one receive each", () => {
    const { side } = receiver()
    side.posted.push(32, 0, 16)
    for (const frame of [
      send(1, eight, { last: 0 }),
      write(stags.open, at, eight),
      send(1, eight, { mo: 8 })
    ]) {
      side.push(encode(frame, crc))
    }
    assert.deepStrictEqual([...side.receive.subarray(0, 17)], [...eight, ...eight, 0])
    assert.strictEqual(side.inbound.received, 16)
    side.push(encode(send(2, bytes()), crc))
    assert.strictEqual(side.inbound.received, 0)
    side.push(encode(immediate(3), crc))
    assert.deepStrictEqual(side.deliveries, ["receive", "receive", "receive"])
    assert.deepStrictEqual(side.posted, [])
    assert.strictEqual(side.fault, undefined)
  })

  it("answer reads in segments and in order, also across a word of the offset", () => {
    const { side } = receiver()
    const sink = side.register(7, 0, 16)
    const { outstanding } = side.inbound
    outstanding.read(7, 1, 0xffff_fffc, 16, sink, 0)
    outstanding.atomic(5)
    outstanding.read(8, 0, 0, 0, undefined, 0)
    assert.strictEqual(outstanding.room, 1)
    const to = 0x1_ffff_fffcn
    for (const frame of [
      response(7, to, eight, 0),
      response(7, to + 8n, bytes(), 0),
      response(7, to + 8n, eight),
      atomicResponse(1, 5),
      response(8, 0n, bytes())
    ]) {
      side.push(encode(frame, crc))
    }
    assert.strictEqual(side.fault, undefined)
    assert.deepStrictEqual([...sink.bytes], [...eight, ...eight])
    assert.deepStrictEqual(side.deliveries, ["readDone", "atomicDone", "readDone"])
    assert.strictEqual(outstanding.room, 4)
  })

  it("have as many requests waiting as agreed, and more once some are answered", () => {
    const { side } = receiver({ ird: 1, ord: 0 })
    for (let msn = 1; msn <= 3; msn++) {
      side.push(encode(read(msn, stags.open, at), crc))
      side.inbound.answered()
    }
    assert.strictEqual(side.fault, undefined)
    assert.throws(() => side.inbound.outstanding.atomic(1), RangeError)
  })

  it("invalidate an STag of its own", () => {
    const { side } = receiver()
    side.posted.push(8)
    side.push(encode(send(1, eight, { invalidateStag: stags.open }), crc))
    assert.deepStrictEqual([side.fault, side.deliveries], [undefined, ["receive"]])
  })
})

describe("a Terminate", () => {
  it("has a name for each cause, and no two causes share their numbers", () => {
    const seen = new Set<string>()
    for (const cause of Object.values(Cause)) {
      seen.add(`${cause.layer}/${cause.type}/${cause.code}`)
      assert.strictEqual(causeOf(cause.layer, cause.type, cause.code), cause)
    }
    assert.strictEqual(seen.size, Object.keys(Cause).length)
    assert.strictEqual(causeOf(3, 0, 0), undefined)
  })

  it("is read in either order, by its flags or else by what makes sense", () => {
    const order = (hex: string) => {
      const { layer, order, type } = decode(bytesOfHex(hex))!
      return [layer, type, order]
    }
    assert.deepStrictEqual(order("1202c000"), [1, 2, "rfc"])
    assert.deepStrictEqual(order("21020300"), [1, 2, "swapped"])
    assert.deepStrictEqual(order("21020000"), [1, 2, "swapped"])
    assert.deepStrictEqual(order("20020000"), [2, 0, "rfc"])
    assert.deepStrictEqual(order("20060000"), [2, 0, "either"])
    assert.deepStrictEqual(order("ff000000"), [15, 15, "rfc"])
  })

  it("of a local catastrophe or of MPA names no segment", () => {
    for (const { code, layer, type } of [Cause.rdmapLocal, Cause.ddpLocal, Cause.crc]) {
      const encoded = encodeTerminate({ code, layer, type }, new Segment(), new Uint8Array(28))
      assert.strictEqual(encoded.length, 4)
    }
  })

  it("leaves out what is cut short", () => {
    assert.strictEqual(decode(bytesOfHex("110000")), undefined)
    const { ddpHeader, rdmapHeader, segmentLength } = decode(bytesOfHex("0100e0000040c140dead"))!
    assert.deepStrictEqual([segmentLength, ddpHeader, rdmapHeader], [64, undefined, undefined])
  })
})
