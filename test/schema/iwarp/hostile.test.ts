/**
 * Goal: no bytes make the receiving side throw, hold memory, or write outside a region.
 * Method: random and mutated inputs in random pieces, from a printed seed; a million of them in a
 * wide run. Guard bytes around each region are compared, and the heap is measured.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import * as IwarpDecoder from "../../../src/schema/iwarp/IwarpDecoder.ts"
import { encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import { MpaReader } from "../../../src/schema/iwarp/Mpa.ts"
import { decode } from "../../../src/schema/iwarp/Terminate.ts"
import { Prng } from "../../../src/testing/internal/sim/prng.ts"
import { wideOr } from "../../wide.ts"
import { Receiver } from "./receiver.ts"
import { conversations, bytesOfHex } from "./vectors.ts"

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32))

const prng = new Prng(seed, "hostile inputs")
const random = (below: number): number => prng.below(below)

const samples = conversations.flatMap(([, frames]) => frames.map(({ hex }) => bytesOfHex(hex)))
const fpdus = samples.filter((sample) => sample[2] !== 0x41 || sample[0] === 0)

/** A sample with a few bytes changed, cut or repeated, or noise; often with its CRC made right. */
const input = (from: ReadonlyArray<Uint8Array>): Uint8Array => {
  const kind = random(8)
  if (kind === 0) return Uint8Array.from({ length: random(64) }, () => random(256))
  const sample = from[random(from.length)]!.slice()
  for (let count = random(4); count > 0; count--) sample[random(sample.length)] = random(256)
  if (kind === 1) return sample.subarray(0, random(sample.length))
  if (kind === 2) return Buffer.concat([sample, from[random(from.length)]!])
  if (kind > 4 && sample.length > 4) {
    const end = sample.length - 4
    const sum = Crc32c.ofBytes(sample.subarray(0, end))
    new DataView(sample.buffer).setUint32(end, sum, true)
  }
  return sample
}

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")
const heapUsed = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}

const guard = 16
const stags = [0x12345678, 0x101, 0xa02, 1]

const crc = Crc32c.make({ stagingBytes: 0 })

const receiver = (arena: Uint8Array) => {
  const side = new Receiver(random(2) === 0 ? crc : undefined)
  stags.forEach((stag, k) => {
    const start = guard + k * (64 + guard)
    const rights = { remoteWrite: true, remoteRead: true, remoteAtomic: true, domain: 1 }
    const bytes = arena.subarray(start, start + 64)
    side.regions.set(stag, { bytes, base: [0x1000, 0, 0x30000000, 0][k]!, length: 64, ...rights })
  })
  side.posted.push(16, 0, 64, 8)
  side.inbound.outstanding.read(0x101, 0, 0x20000000, 16, side.regions.get(0x101), 0)
  side.inbound.outstanding.atomic(7)
  return side
}

const isGuard = (place: number): boolean => place % (64 + guard) < guard

/** Of one test: so many take a few seconds, on a busy machine some ten of them. */
const inputs = 100_000

const parts = Array.from({ length: wideOr(10, 1) }, (_, part) => part + 1)

describe(`hostile inputs, SEED=${seed}`, () => {
  it.each(parts)("never throw, and stay within the regions and within bounds (part %i)", () => {
    const arena = new Uint8Array(guard + stags.length * (64 + guard))
    const tags = new Map<string, number>()
    const heap = process.memoryUsage().heapUsed
    for (let count = 0; count < inputs;) {
      const side = receiver(arena)
      for (let more = 1 + random(12); more > 0 && side.fault === undefined; more--) {
        const bytes = input(fpdus)
        const cut = random(bytes.length + 1)
        side.push(bytes.subarray(0, cut))
        side.push(bytes.subarray(cut))
        count += 1
      }
      const tag = side.fault?._tag ?? "none"
      tags.set(tag, (tags.get(tag) ?? 0) + 1)
      const answer = side.terminate()
      if (answer !== undefined) assert.isDefined(decode(answer))
      assert.isAtMost(answer?.length ?? 0, 52)
    }
    arena.forEach((byte, place) => {
      if (isGuard(place)) assert.strictEqual(byte, 0, `byte ${place} was written`)
    })
    assert.isTrue(arena.some((byte) => byte !== 0))
    assert.isBelow(heapUsed() - heap, 10e6)
    // The inputs are hostile in all the ways that matter, or this test shows nothing.
    for (const tag of ["CrcMismatch", "BadLength", "Refused", "none"]) {
      assert.isAbove(tags.get(tag) ?? 0, inputs / 1_000, tag)
    }
  })

  it("never make the reader of start-up frames throw", () => {
    for (let count = 0; count < 100_000; count++) {
      const bytes = input(samples)
      const reader = new MpaReader(random(2) === 0 ? "request" : "reply")
      const cut = random(bytes.length + 1)
      if (reader.push(bytes, 0, cut) === cut) reader.push(bytes, cut, bytes.length)
      assert.isFalse(reader.frame !== undefined && reader.fault !== undefined)
    }
  })

  it("never make the decoder throw, and each gives an answer", () => {
    for (let count = 0; count < 20_000; count++) {
      const decoder = IwarpDecoder.make()
      for (let more = 1 + random(4); more > 0; more--) {
        const bytes = input(samples)
        const direction = ([undefined, "c2s", "s2c"] as const)[random(3)]
        const frames = [...decoder.decode(bytes, direction)]
        assert.strictEqual(frames.length > 0, bytes.length > 0)
      }
    }
  })

  it("that drip byte by byte cost no more than the parser", () => {
    const side = new Receiver(crc)
    const memory = side.register(7, 0, 64)
    const write = encode({ _tag: "Write", last: 1, stag: 7, to: 0n, payload: memory.bytes }, crc)
    const drops = Array.from(write, (byte) => Uint8Array.of(byte))
    const heap = heapUsed()
    for (let count = 0; count < inputs; count++) side.push(drops[count % drops.length]!)
    assert.strictEqual(side.fault, undefined)
    assert.isBelow(heapUsed() - heap, 1e6)
  })
})
