/**
 * Goal: no bytes make the receiving side throw, hold memory, or take long.
 * Method: every message that was tried against Mooncake, ten of which abort it; 120,000 random and
 * mutated inputs in random pieces, from a printed seed; the heap is measured.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Body from "../../../src/schema/mooncake/Body.ts"
import { encode, type Frame, FrameReader, FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as Handshake from "../../../src/schema/mooncake/Handshake.ts"
import * as MooncakeDecoder from "../../../src/schema/mooncake/MooncakeDecoder.ts"
import * as Notify from "../../../src/schema/mooncake/Notify.ts"
import * as Probe from "../../../src/schema/mooncake/Probe.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import { Prng } from "../../../src/testing/internal/sim/prng.ts"
import { changed, tried } from "./hostileInputs.ts"
import { bytesOfHex, readerOf, sent } from "./vectors.ts"

/** Reads a frame as far as it can be read, and writes again what was read. */
const receive = ({ text, type }: Frame): string => {
  switch (type) {
    case FrameType.connection: {
      const body = Body.decode(text)
      if (Result.isFailure(body)) return body.failure._tag
      const again = Body.decode(Body.encode(body.success))
      assert.isTrue(Result.isSuccess(again))
      const call = Handshake.readCall(body.success)
      const answer = Handshake.readAnswer(body.success)
      if (Result.isSuccess(call)) Body.encode(Handshake.toBody(call.success))
      if (Result.isSuccess(answer)) Body.encode(Handshake.toBody(answer.success))
      return Result.isSuccess(call) ? call.success._tag : call.failure._tag
    }
    case FrameType.metadata: {
      const descriptor = SegmentDescriptor.decode(text)
      if (Result.isFailure(descriptor)) return descriptor.failure._tag
      SegmentDescriptor.encode(descriptor.success)
      return "Metadata"
    }
    case FrameType.notify: {
      const notify = Notify.decode(text)
      return Result.isFailure(notify) ? notify.failure._tag : "Notify"
    }
    case FrameType.probe: {
      const probe = Probe.decode(text)
      return Result.isFailure(probe) ? probe.failure._tag : "Probe"
    }
  }
}

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))

const prng = new Prng(seed, "hostile inputs")
const random = (below: number): number => prng.below(below)

const typed = (type: Frame["type"], text: string): Uint8Array =>
  encode({ type, framing: "typed", text })

const samples = [
  ...sent.map(({ sent }) => bytesOfHex(sent.hex)),
  ...tried.map(([, type, text]) => typed(type, text))
].filter((sample) => sample.length > 8)

const pieces = [...'{}[],:"\\/*0123456789.eE+-', "null", "true", "/**/", "//", "\\u", "\ufeff", "é"]
const words = [
  "__proto__",
  "constructor",
  "qp_num",
  "ready_ack",
  "handfast",
  "1e400",
  "0".repeat(99)
]
const chosen = (from: ReadonlyArray<string>): string => from[random(from.length)]!

/** A sample with a few bytes changed or cut, or noise; often with its length made right. */
const input = (): Uint8Array => {
  const kind = random(8)
  if (kind === 0) return Uint8Array.from({ length: random(64) }, () => random(256))
  let sample: Uint8Array = samples[random(samples.length)]!.slice()
  for (let count = random(4); count > 0; count--) {
    const at = 8 + random(sample.length - 8)
    if (kind < 4) sample[at] = random(256)
    else {
      const inserted = Buffer.from(chosen(random(2) === 0 ? pieces : words))
      const rest = sample.subarray(at + random(6))
      sample = Buffer.concat([sample.subarray(0, at), inserted, rest])
    }
  }
  if (kind === 1) return sample.subarray(0, random(sample.length))
  if (kind > 2) new DataView(sample.buffer, sample.byteOffset).setUint32(0, sample.length - 8, true)
  return sample
}

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")
const heapUsed = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}

describe("H6: what was tried against Mooncake", () => {
  it("are 22 messages, of which ten abort it", () => {
    assert.strictEqual(tried.length, 22)
    assert.strictEqual(tried.filter(([, , , outcome]) => outcome === "aborts").length, 10)
  })

  it.each(tried)("%s", (_name, type, text, _outcome, tag) => {
    const { frame } = readerOf(typed(type, text))
    assert.strictEqual(receive(frame!), tag)
  })

  it("harms no side here that reads it as a reply, or as a frame of another type", () => {
    for (const [, , text] of tried) {
      for (const type of Object.values(FrameType)) {
        const { frame } = readerOf(typed(type, text))
        assert.isString(receive(frame!))
      }
    }
  })
})

describe(`H6: hostile inputs, SEED=${seed}`, () => {
  it("never throw: each is a frame, a fault, or not complete", { timeout: 60_000 }, () => {
    const tags = new Map<string, number>()
    const note = (tag: string) => tags.set(tag, (tags.get(tag) ?? 0) + 1)
    const heap = heapUsed()
    for (let count = 0; count < 120_000; count++) {
      const bytes = input()
      const reader = new FrameReader()
      const cut = random(bytes.length + 1)
      const taken = reader.push(bytes.subarray(0, cut))
      if (taken === cut) reader.push(bytes.subarray(cut))
      const { fault, frame } = reader
      assert.isFalse(frame !== undefined && fault !== undefined)
      note(frame === undefined ? (fault?._tag ?? "incomplete") : receive(frame))
    }
    assert.isBelow(heapUsed() - heap, 20e6)
    // The inputs are hostile in all the ways that matter, or this test shows nothing.
    const ways = ["FrameTooLong", "incomplete", "BadJson", "Malformed", "Request", "Metadata"]
    for (const tag of [...ways, "ReadyAck", "Notify", "Probe", "SenderPathInvalid", "GidInvalid"]) {
      assert.isAbove(tags.get(tag) ?? 0, 100, tag)
    }
    assert.notProperty({}, "qp_num")
  })

  it("never make the decoder throw, and each gives an answer", () => {
    for (let count = 0; count < 20_000; count++) {
      const decoder = MooncakeDecoder.make()
      for (let more = 1 + random(3); more > 0; more--) {
        const bytes = input()
        const direction = ([undefined, "c2s", "s2c"] as const)[random(3)]
        const frames = [...decoder.decode(bytes, direction)]
        assert.strictEqual(frames.length > 0, bytes.length > 0)
      }
    }
  })

  it("of a mebibyte take bounded time", () => {
    const full = (piece: string) => piece.repeat(Math.floor(1_048_000 / piece.length))
    const brackets = ["[", '{"a":', "[{", "[/*", "/**/", "[//\n"].map(full)
    const strings = ['"', "\\", '"\\"', "\\u0000"].map((piece) => `"${full(piece)}`)
    const lists = ["1,", "null,", '"",', "1e9,", "12345678901234567,"].map(
      (piece) => `{"qp_num":[${full(piece)}`
    )
    const digits = [full("1"), `{"a":-${full("9")}}`, `1.${full("1")}`, `1e${full("1")}`]
    for (const text of [...brackets, ...strings, ...lists, ...digits, full(" "), full("é")]) {
      for (const type of Object.values(FrameType)) {
        const start = performance.now()
        receive({ type, framing: "typed", text })
        assert.isBelow(performance.now() - start, 1000, text.slice(0, 20))
      }
    }
  })

  it("that drip byte by byte cost no more than what they hold", () => {
    const bytes = typed(FrameType.connection, changed({ payload: "x".repeat(500_000) }))
    const heap = heapUsed() + process.memoryUsage().arrayBuffers
    const reader = new FrameReader()
    for (let at = 0; at < bytes.length - 1; at++) reader.push(bytes.subarray(at, at + 1))
    assert.isBelow(heapUsed() + process.memoryUsage().arrayBuffers - heap, 4e6)
    assert.isUndefined(reader.frame)
    reader.push(bytes.subarray(-1))
    assert.strictEqual(receive(reader.frame!), "Request")
  })
})
