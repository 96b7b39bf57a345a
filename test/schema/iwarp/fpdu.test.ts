/**
 * Goal: FPDUs are read the same however they are cut, and each vector is read and written to the
 * byte.
 * Method: the vectors' conversations, whole and split at every byte; the marker figures of RFC
 * 5044; faults planted in each field that framing depends on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { FpduParser, Step } from "../../../src/schema/iwarp/FpduParser.ts"
import { decode, encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import { conversations, hexOf, bytesOfHex, usesCrc, type Vector, vectors } from "./vectors.ts"

const crc = Crc32c.make()

interface Read {
  readonly message: ReturnType<typeof decode>
  readonly crcField: string
  readonly ulpduLength: number
}

/** Everything in these chunks; the last fault, if there was one, ends it. */
const readAll = (parser: FpduParser, chunks: Iterable<Uint8Array>) => {
  const reads: Array<Read> = []
  let payload: Array<number> = []
  for (const chunk of chunks) {
    parser.feed(chunk, 0, chunk.length)
    for (let step = parser.next(); step !== Step.starved; step = parser.next()) {
      if (step === Step.fault) return { reads, fault: parser.fault }
      if (step === Step.header) payload = []
      else if (step === Step.payload) {
        assert.strictEqual(parser.offset, payload.length)
        payload.push(...chunk.subarray(parser.from, parser.to))
      } else {
        const { control, controlLength, segment } = parser
        const body = controlLength > 0 ? control.slice(0, controlLength) : Uint8Array.from(payload)
        const field = new DataView(new ArrayBuffer(4))
        field.setUint32(0, parser.carriedCrc, true)
        const message = decode(segment, body)
        const crcField = `0x${field.getUint32(0).toString(16).padStart(8, "0")}`
        reads.push({ message, crcField, ulpduLength: segment.ulpduLength })
      }
    }
  }
  return { reads, fault: parser.fault }
}

const parserFor = (conversation: string): FpduParser =>
  new FpduParser({ crc: usesCrc(conversation) ? crc : undefined })

const good = (frames: ReadonlyArray<Vector>) =>
  frames.filter(({ fields, kind }) => kind === "fpdu" && fields["crcBad"] !== 1)

const cases = conversations.flatMap(([name, frames]) =>
  (["I", "O"] as const).map(
    (side) => [name, side, good(frames).filter(({ dir }) => dir === side)] as const
  )
)

describe("the vectors", () => {
  it("are read field by field and written again to the byte", () => {
    let count = 0
    for (const [conversation, , frames] of cases) {
      for (const { fields, hex, name } of frames) {
        const { fault, reads } = readAll(parserFor(conversation), [bytesOfHex(hex)])
        assert.strictEqual(fault, undefined, name)
        assert.strictEqual(reads.length, 1, name)
        const { crcField, message, ulpduLength } = reads[0]!
        assert.strictEqual(crcField, fields["crcField"], name)
        assert.strictEqual(ulpduLength, fields["ulpduLength"], name)
        const written = encode(message!, usesCrc(conversation) ? crc : undefined)
        assert.strictEqual(hexOf(written), hex, name)
        count += 1
      }
    }
    assert.isAtLeast(count, 40)
  })

  it("are read the same when their stream is cut anywhere, or byte by byte", () => {
    for (const [conversation, , frames] of cases) {
      const stream = bytesOfHex(frames.map(({ hex }) => hex).join(""))
      const whole = readAll(parserFor(conversation), [stream])
      assert.strictEqual(whole.reads.length, frames.length)
      for (let cut = 0; cut <= stream.length; cut++) {
        const parser = parserFor(conversation)
        const pieces = [stream.subarray(0, cut), stream.subarray(cut)]
        assert.deepStrictEqual(readAll(parser, pieces), whole, `${conversation} at ${cut}`)
        assert.isFalse(parser.inside)
      }
      const single = Array.from(stream, (byte) => Uint8Array.of(byte))
      assert.deepStrictEqual(readAll(parserFor(conversation), single), whole)
    }
  })

  it("hold one FPDU with a bad CRC, and it is the only one", () => {
    const bad = conversations
      .flatMap(([, frames]) => frames)
      .filter(({ fields }) => fields["crcBad"] === 1)
    assert.strictEqual(bad.length, 1)
    const { fault, reads } = readAll(new FpduParser({ crc }), [bytesOfHex(bad[0]!.hex)])
    assert.deepStrictEqual(reads, [])
    assert.strictEqual(fault?._tag, "CrcMismatch")
    const unchecked = readAll(new FpduParser({ crc: undefined }), [bytesOfHex(bad[0]!.hex)])
    assert.strictEqual(unchecked.reads.length, 1)
  })
})

describe("a payload", () => {
  const write = bytesOfHex(vectors.streams["v1_crc"]!.find(({ name }) => name === "write16")!.hex)

  it("can be read into its destination, and is checked there", () => {
    const parser = new FpduParser({ crc })
    const target = new Uint8Array(new SharedArrayBuffer(16))
    parser.feed(write, 0, 16)
    assert.strictEqual(parser.next(), Step.header)
    assert.strictEqual(parser.next(), Step.starved)
    assert.strictEqual(parser.pending, 16)
    target.set(write.subarray(16, 32))
    parser.feed(target, 0, 16)
    assert.strictEqual(parser.next(), Step.payload)
    assert.deepStrictEqual([parser.from, parser.to, parser.pending], [0, 16, 0])
    assert.strictEqual(parser.next(), Step.starved)
    parser.feed(write, 32, 36)
    assert.strictEqual(parser.next(), Step.complete)
  })

  it("that was changed anywhere is not believed", () => {
    for (let bit = 0; bit < write.length * 8; bit++) {
      const changed = write.slice()
      changed[bit >> 3]! ^= 1 << (bit & 7)
      // A changed length makes the parser wait for bytes of the next FPDUs.
      const { fault, reads } = readAll(new FpduParser({ crc }), [changed, new Uint8Array(65_600)])
      assert.deepStrictEqual(reads, [], `bit ${bit}`)
      assert.isDefined(fault, `bit ${bit}`)
    }
  })
})

describe("a length", () => {
  const fault = (hex: string) => readAll(new FpduParser({ crc }), [bytesOfHex(hex)]).fault

  it("below a header's or above MPA's limit is refused as soon as the header is there", () => {
    const rest = "00".repeat(16)
    const limit = 64768
    assert.deepStrictEqual(fault(`000dc140${rest}`), { _tag: "BadLength", length: 13, limit })
    assert.deepStrictEqual(fault(`00114143${rest}`), { _tag: "BadLength", length: 17, limit })
    assert.deepStrictEqual(fault(`fd01c140${rest}`), { _tag: "BadLength", length: 64769, limit })
    assert.strictEqual(fault(`fd00c140${rest}`), undefined)
  })

  it("beyond what is gathered is reported as payload, and never held", () => {
    for (const [length, gathered] of [
      [128, 128],
      [129, 0]
    ] as const) {
      const send = { _tag: "Send", last: 1, solicited: 0, msn: 1, mo: 0 } as const
      const fpdu = encode({ ...send, payload: new Uint8Array(length) }, undefined)
      fpdu[3] = 0x47
      const parser = new FpduParser({ crc: undefined })
      parser.feed(fpdu, 0, fpdu.length)
      const steps = []
      do steps.push(parser.next())
      while (steps.at(-1) !== Step.complete)
      assert.strictEqual(parser.controlLength, gathered)
      assert.strictEqual(steps.includes(Step.payload), gathered === 0)
    }
  })

  it("after a fault nothing more is read", () => {
    const parser = new FpduParser({ crc })
    const bad = bytesOfHex(`000dc140${"00".repeat(16)}`)
    const first = readAll(parser, [bad])
    assert.deepStrictEqual(readAll(parser, [bytesOfHex(vectors.rfc5044[2]!.hex)]), first)
  })
})

/** Puts a marker at every 512th byte and a CRC over all; `cuts` are places in and around them. */
const marked = (frames: ReadonlyArray<Uint8Array>) => {
  const bytes: Array<number> = []
  const cuts: Array<number> = []
  for (const frame of frames) {
    let start = bytes.length
    const crcFrom = start
    const mark = () => {
      if (bytes.length % 512 !== 0) return
      const pointer = bytes.length - start
      for (let k = 0; k <= 4; k++) cuts.push(bytes.length + k)
      bytes.push(0, 0, pointer >> 8, pointer & 255)
    }
    mark()
    start = bytes.length
    for (const byte of frame.subarray(0, -4)) {
      if (bytes.length > start) mark()
      bytes.push(byte)
    }
    if (bytes.length > start) mark()
    const sum = new DataView(new ArrayBuffer(4))
    sum.setUint32(0, Crc32c.ofBytes(Uint8Array.from(bytes.slice(crcFrom))), true)
    bytes.push(...new Uint8Array(sum.buffer))
  }
  return { bytes: Uint8Array.from(bytes), cuts }
}

describe("markers (RFC 5044, figures 5 and 6)", () => {
  const [figure5, figure6, plain] = vectors.rfc5044.map(({ hex }) => bytesOfHex(hex))
  const send = { _tag: "Send", last: 1, solicited: 0, mo: 0, payload: new Uint8Array(24) } as const

  /** A stream up to byte 492, so that the marker at 512 falls where figure 6 has it. */
  const before = (() => {
    const ulpdu = 492 - 4 - figure5!.length - 6
    const filler = new Uint8Array(492 - figure5!.length)
    const view = new DataView(filler.buffer)
    view.setUint16(0, ulpdu + 4)
    filler.set(bytesOfHex("4143000000000000000000000002"), 2)
    view.setUint32(filler.length - 4, Crc32c.ofBytes(filler.subarray(0, -4)), true)
    return filler
  })()

  it("are taken out, and are part of the CRC", () => {
    const { fault, reads } = readAll(new FpduParser({ crc, markers: true }), [figure5!])
    assert.strictEqual(fault, undefined)
    assert.deepStrictEqual(
      reads.map(({ message }) => message),
      [{ ...send, msn: 1 }]
    )
    assert.strictEqual(hexOf(encode({ ...send, msn: 1 }, crc)), hexOf(plain!))
  })

  it("are found in the middle of an FPDU, cut anywhere", () => {
    const stream = Buffer.concat([figure5!, before, figure6!])
    const whole = readAll(new FpduParser({ crc, markers: true }), [stream])
    assert.strictEqual(whole.fault, undefined)
    assert.strictEqual(whole.reads.length, 3)
    assert.deepStrictEqual(whole.reads[2]!.message, { ...send, msn: 2 })
    for (let cut = 0; cut <= stream.length; cut++) {
      const pieces = [stream.subarray(0, cut), stream.subarray(cut)]
      const parser = new FpduParser({ crc, markers: true })
      assert.deepStrictEqual(readAll(parser, pieces), whole, `cut at ${cut}`)
    }
  })

  it("are found in every place, and point to the FPDU they interrupt", () => {
    const lengths = [1000, 1, 507, 508, 2, 600, 489, 64]
    const frames = lengths.map((length, k) => {
      const payload = new Uint8Array(length).fill(k)
      return encode({ _tag: "Write", last: 1, stag: k, to: 0n, payload }, undefined)
    })
    const { bytes, cuts } = marked(frames)
    const whole = readAll(new FpduParser({ crc, markers: true }), [bytes])
    assert.strictEqual(whole.fault, undefined)
    assert.deepStrictEqual(
      whole.reads.map(({ message }) => message?._tag === "Write" && message.payload.length),
      lengths
    )
    for (const cut of cuts) {
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)]
      const parser = new FpduParser({ crc, markers: true })
      assert.deepStrictEqual(readAll(parser, pieces), whole, `cut at ${cut}`)
    }
  })

  it("that point elsewhere are a fault", () => {
    const wrong = figure5!.slice()
    wrong[3] = 4
    const { fault } = readAll(new FpduParser({ crc, markers: true }), [wrong])
    assert.deepStrictEqual(fault, { _tag: "BadMarker", pointer: 4, expected: 0 })
  })
})
