/**
 * Goal: operations are cut into slices that cover them once, and never reach over a border; wrong
 * ranges are refused before anything is posted.
 * Method: laws over random memories and operations, tables for the tail and for what is refused.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Directory from "../../../src/actors/rdma/Directory.ts"
import { RegisteredMemory } from "../../../src/actors/rdma/Memory.ts"
import type { Operation, Target } from "../../../src/actors/transfer/Transfer.ts"
import { InvalidTransfer } from "../../../src/actors/transfer/TransferError.ts"
import { faultOfRange, PeerMemory } from "../../../src/actors/transfer/internal/slicing.ts"
import { Job, type CheckedOperation } from "../../../src/actors/transfer/internal/job.ts"
import {
  faultOfPeer,
  validateRequest
} from "../../../src/actors/transfer/internal/requestValidation.ts"
import { type Slice, SlicePool } from "../../../src/actors/transfer/internal/slicing.ts"
import { EpochSource } from "../../../src/schema/Epoch.ts"
import type { Region } from "../../../src/native/verbs/Region.ts"

const epoch = new EpochSource(1).next()

const memoryOf = (
  bytes: number,
  chunk: number,
  access: Region["access"] = ["local-write"],
  name = "own"
) => {
  const region = { access, length: bytes, address: 1, remoteKey: 0 }
  const memory = new Uint8Array(new SharedArrayBuffer(bytes))
  return new RegisteredMemory(
    name,
    memory,
    chunk,
    [[region as Region]],
    () => Effect.succeed([]),
    epoch
  )
}

/** Buffers that lie one behind the other, from an address on. */
const peerOf = (address: number, lengths: ReadonlyArray<number>) => {
  let at = address
  const buffers = lengths.map((length, index) => {
    const buffer = { name: `b${index}`, address: at, length, keys: [index + 1] }
    at += length
    return buffer
  })
  return new PeerMemory({ nics: [{ path: "p@n" }], buffers })
}

/** What is missing of a range of a peer's memory. */
const missing = (peer: PeerMemory, target: Target, length: number): string | undefined =>
  faultOfRange(peer, target, length, "remote-read")?.detail

const settings = { sliceBytes: 64, attempts: 3, beginnings: 3 }

interface Cut {
  readonly operation: number
  readonly at: number
  readonly length: number
  readonly key: number
}

const cutOf = ({ at, found, length, operation }: Slice): Cut => ({
  operation,
  at,
  length,
  key: found.buffer!.keys[0]!
})

const cuts = (plans: ReadonlyArray<CheckedOperation>, peer: PeerMemory): ReadonlyArray<Cut> => {
  const pool = new SlicePool()
  const job = new Job(plans, settings)
  const all: Array<Cut> = []
  for (let slice = job.take(peer, pool); slice !== undefined; slice = job.take(peer, pool)) {
    all.push(cutOf(slice))
    assert.isTrue(job.done(slice, peer, pool))
  }
  assert.isUndefined(job.stop)
  assert.strictEqual(job.moved, job.bytes)
  assert.deepStrictEqual(job.unfinished(9), [])
  return all
}

const write = (offset: number, length: number, chunk = 1 << 20): CheckedOperation => ({
  isWrite: true,
  memory: memoryOf(1 << 20, chunk),
  offset,
  length,
  target: { address: 1000 + offset }
})

describe("slices", () => {
  const tails: ReadonlyArray<readonly [length: number, slices: ReadonlyArray<number>]> = [
    [1, [1]],
    [64, [64]],
    [80, [80]],
    [81, [64, 17]],
    [128, [64, 64]],
    [144, [64, 80]],
    [145, [64, 64, 17]]
  ]
  for (const [length, expected] of tails) {
    it(`R31: ${length} bytes are cut into ${expected.join(" and ")}`, () => {
      const found = cuts([write(0, length)], peerOf(1000, [4096]))
      assert.deepStrictEqual(
        found.map((cut) => cut.length),
        expected
      )
    })
  }

  const size = (most: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: most }))
  it.prop(
    "R31: cover each operation once and in order, within the borders of both sides",
    [
      Schema.Array(size(300)).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
      size(200),
      Schema.Array(Schema.Tuple([size(500), size(500)])).check(
        Schema.isMinLength(1),
        Schema.isMaxLength(4)
      )
    ],
    ([lengths, chunk, wishes]) => {
      const total = lengths.reduce((sum, one) => sum + one, 0)
      const plans = wishes.map(([start, length]) => {
        const offset = (start - 1) % total
        return write(offset, Math.min(length, total - offset), chunk)
      })
      const found = cuts(plans, peerOf(1000, lengths))
      const borders = lengths.map((_, index) =>
        lengths.slice(0, index + 1).reduce((sum, one) => sum + one, 0)
      )
      for (const [index, { length, offset }] of plans.entries()) {
        let at = 0
        for (const cut of found.filter(({ operation }) => operation === index)) {
          assert.strictEqual(cut.at, at)
          const [first, last] = [offset + at, offset + at + cut.length - 1]
          const buffer = borders.findIndex((border) => first < border)
          assert.strictEqual(cut.key, buffer + 1)
          assert.isBelow(last, borders[buffer]!)
          assert.strictEqual(Math.floor(first / chunk), Math.floor(last / chunk))
          assert.isAtMost(cut.length, 80)
          at += cut.length
        }
        assert.strictEqual(at, length)
      }
    }
  )

  it("R31: one that failed is cut again if the peer's memory has other borders by now", () => {
    const pool = new SlicePool()
    const job = new Job([write(0, 64)], settings)
    const slice = job.take(peerOf(1000, [64]), pool)!
    assert.strictEqual(job.waiting, 0)
    assert.isTrue(job.failed(slice, true))
    assert.strictEqual(job.waiting, 64)
    const after = peerOf(1000, [10, 54])
    const [one, two] = [job.take(after, pool)!, job.take(after, pool)!]
    assert.deepStrictEqual([one, two].map(cutOf), [
      { operation: 0, at: 0, length: 10, key: 1 },
      { operation: 0, at: 10, length: 54, key: 2 }
    ])
    assert.deepStrictEqual([one.attempts, two.attempts, job.waiting], [1, 1, 0])
    assert.isFalse(job.hasWork)
  })

  it("R12: only what was tried and failed counts as an attempt", () => {
    const pool = new SlicePool()
    const peer = peerOf(1000, [64])
    const job = new Job([write(0, 64)], settings)
    for (let turn = 0; turn < 50; turn++) job.requeue(job.take(peer, pool)!)
    for (let turn = 0; turn < 50; turn++) assert.isTrue(job.failed(job.take(peer, pool)!, false))
    assert.isTrue(job.failed(job.take(peer, pool)!, true))
    assert.isTrue(job.failed(job.take(peer, pool)!, true))
    assert.isFalse(job.failed(job.take(peer, pool)!, true))
  })

  it("T1: what ends in memory that is not there any more is handed out again", () => {
    const pool = new SlicePool()
    const job = new Job([write(0, 128)], settings)
    const [before, after] = [peerOf(1000, [128]), peerOf(1000, [128, 1])]
    const [one, two] = [job.take(before, pool)!, job.take(before, pool)!]
    // The same memory, told of once more.
    assert.isTrue(job.done(one, after, pool))
    const other = new PeerMemory(after.description, "another process")
    assert.isFalse(job.done(two, other, pool))
    assert.deepStrictEqual([job.moved, job.waiting], [64, 64])
    assert.deepStrictEqual(cutOf(job.take(other, pool)!), {
      operation: 0,
      at: 64,
      length: 64,
      key: 1
    })
  })

  it("T1: a job begins anew only when nothing of it is posted", () => {
    const pool = new SlicePool()
    const job = new Job([write(0, 128)], settings)
    const peer = peerOf(1000, [128])
    const other = new PeerMemory(peer.description, "another process")
    const [one, two] = [job.take(peer, pool)!, job.take(peer, pool)!]
    job.posted = 2
    assert.isTrue(job.done(one, peer, pool))
    job.posted = 1
    assert.isTrue(job.onPeerMemory(other, pool))
    job.settle()
    assert.deepStrictEqual([job.hasWork, job.moved, job.isOver], [false, 0, false])
    assert.isFalse(job.done(two, other, pool))
    job.posted = 0
    job.settle()
    assert.deepStrictEqual([job.hasWork, job.waiting], [true, 128])
    assert.deepStrictEqual(job.unfinished(9), [0])
  })

  it("R31: a key is refused for good if the peer has told of it again since it refused it", () => {
    const pool = new SlicePool()
    const job = new Job([write(0, 256)], settings)
    const { description } = peerOf(1000, [256])
    const told = new PeerMemory(description)
    const isRefused = (peer: PeerMemory) => job.refused(job.take(peer, pool)!, 0)
    // Both were posted by what the peer had told before.
    assert.isFalse(isRefused(told))
    assert.isFalse(isRefused(told))
    assert.isTrue(isRefused(new PeerMemory(description)))
    const [buffer] = description.buffers
    const other = { ...description, buffers: [{ ...buffer!, keys: [9] }] }
    assert.isFalse(isRefused(new PeerMemory(other)))
  })

  it("T1: a job that began anew does not do so again for what it had moved before", () => {
    const pool = new SlicePool()
    const job = new Job([write(0, 128)], settings)
    const { description } = peerOf(1000, [128])
    const [first, second] = ["first", "second"].map((name) => new PeerMemory(description, name))
    assert.isTrue(job.done(job.take(first!, pool)!, first!, pool))
    assert.isTrue(job.onPeerMemory(second!, pool))
    assert.isTrue(job.done(job.take(second!, pool)!, second!, pool))
    // The same process, told of once more.
    assert.isFalse(job.onPeerMemory(new PeerMemory(description, "second"), pool))
    assert.deepStrictEqual([job.moved, job.waiting], [64, 64])
  })

  it("T1: a transfer without a deadline begins anew only so often", () => {
    for (const hasDeadline of [false, true]) {
      const pool = new SlicePool()
      const terms = { onReplaced: "begin-anew", hasDeadline } as const
      const job = new Job([write(0, 128)], settings, terms)
      const { description } = peerOf(1000, [128])
      for (let turn = 0; turn < 5; turn++) {
        const peer = new PeerMemory(description, `process ${turn}`)
        job.onPeerMemory(peer, pool)
        job.settle()
        const slice = job.take(peer, pool)
        if (slice !== undefined) job.done(slice, peer, pool)
      }
      assert.strictEqual(job.stop?.reason, hasDeadline ? undefined : "peer-memory-replaced")
    }
  })

  it("T8: is not a part of memory because its owner has named it like one", () => {
    const buffer = { name: "kv#0", address: 1000, length: 100, keys: [7] }
    const other = { ...buffer, name: "kv#1", address: 5000 }
    for (const buffers of [[buffer], [buffer, other]]) {
      const peer = new PeerMemory({ nics: [{ path: "p@n" }], buffers })
      assert.strictEqual(missing(peer, { buffer: "kv" }, 10), "no buffer kv")
      assert.isUndefined(missing(peer, { buffer: "kv#0" }, 10))
    }
  })

  it("T8: named memory in several parts is found by its name, over their borders", () => {
    const parts = [100, 100, 50].map((length, part) => {
      const address = 1000 + 100 * part
      return { name: `big#${part}`, address, length, keys: [part + 1] }
    })
    const peer = new PeerMemory({ nics: [{ path: "p@n" }], buffers: parts })
    const plan = { ...write(0, 170), target: { buffer: "big", offset: 80 } }
    assert.deepStrictEqual(
      cuts([plan], peer).map(({ key, length }) => [key, length]),
      [
        [1, 20],
        [2, 64],
        [2, 36],
        [3, 50]
      ]
    )
    assert.include(missing(peer, plan.target, 171), "big has only 250")
    assert.isUndefined(missing(peer, { buffer: "big#1" }, 100))
  })

  it("R31: a job waits when the peer's memory is gone, and goes on when it is there", () => {
    const pool = new SlicePool()
    const job = new Job([write(0, 200)], settings)
    assert.isDefined(job.take(peerOf(1000, [200]), pool))
    assert.isUndefined(job.take(peerOf(5000, [200]), pool, 7))
    assert.deepStrictEqual(job.lack, { detail: "no buffer holds the address 1064", since: 7 })
    assert.isFalse(job.hasWork)
    job.recheck(peerOf(1000, [200]))
    assert.isDefined(job.take(peerOf(1000, [200]), pool))
    assert.isUndefined(job.take(peerOf(5000, [200]), pool, 10))
    job.missed(29, 20, pool)
    assert.isUndefined(job.stop)
    job.missed(30, 20, pool)
    assert.strictEqual(job.stop!.reason, "no-such-memory")
  })
})

describe("a request is refused", () => {
  const own = memoryOf(4096, 4096)
  const readOnly = memoryOf(4096, 4096, ["remote-read"], "readOnly")
  const memories = new Map([own, readOnly].map((memory) => [memory.name, memory]))
  /** What is wrong with a request by itself, or else with the places that it names. */
  const faultOf = (operations: ReadonlyArray<Operation>) => {
    const plans = validateRequest({ peer: "p", ops: operations }, memories, 10)
    return "_tag" in plans ? plans : faultOfPeer("p", plans, peer)
  }
  const peer = new PeerMemory({
    nics: [{ path: "p@n" }],
    buffers: [
      { name: "kv", address: 1000, length: 100, keys: [7] },
      { name: "private", address: 5000, length: 100, keys: [] },
      { name: "cpu:0", address: 7000, length: 100, keys: [7] },
      { name: "cpu:0", address: 8000, length: 100, keys: [7] },
      { name: "read", address: 9000, length: 100, keys: [7], access: ["remote-read"] },
      { name: "written", address: 9100, length: 100, keys: [7], access: ["remote-write"] }
    ]
  })
  const to = { buffer: "kv" }
  const from = own.slice(0, 10)
  const wrong: Record<string, ReadonlyArray<Operation>> = {
    "no operations": [],
    "memory of another engine": [{ op: "write", from: memoryOf(4096, 4096).slice(0, 10), to }],
    "nothing to move": [{ op: "write", from: own.slice(0, 0), to }],
    "half a byte": [{ op: "write", from: own.slice(0, 1.5), to }],
    "before the start": [{ op: "write", from: own.slice(-1, 10), to }],
    "behind the end": [{ op: "write", from: own.slice(4090, 10), to }],
    "a read into memory that takes none": [{ op: "read", from: to, to: readOnly.slice(0, 10) }],
    "behind the end of the peer's buffer": [
      { op: "write", from, to: { buffer: "kv", offset: 91 } }
    ],
    "before its start": [{ op: "write", from, to: { buffer: "kv", offset: -1 } }],
    "an address that is nowhere": [{ op: "write", from, to: { address: 999 } }],
    "an address range with a gap": [{ op: "write", from, to: { address: 1095 } }],
    "an address that cannot be counted with": [{ op: "write", from, to: { address: 2 ** 53 } }],
    "a buffer that nobody has": [{ op: "write", from, to: { buffer: "vk" } }],
    "a buffer that is not for others": [{ op: "read", from: { buffer: "private" }, to: from }],
    "a name that several have": [{ op: "read", from: { buffer: "cpu:0" }, to: from }],
    "a second operation that is wrong": [
      { op: "write", from, to },
      { op: "write", from, to: { address: 0 } }
    ],
    "too many": Array.from({ length: 11 }, () => ({ op: "write", from, to }))
  }
  for (const [name, operations] of Object.entries(wrong)) {
    it(`R31: ${name}`, () => {
      assert.instanceOf(faultOf(operations), InvalidTransfer)
    })
  }

  it("R31: if the peer's description says that its memory is not for that", () => {
    const [read, written] = [{ buffer: "read" }, { buffer: "written" }]
    const forbidden: ReadonlyArray<Operation> = [
      { op: "write", from, to: read },
      { op: "read", from: written, to: from },
      { op: "write", from, to: { address: 9000 } },
      // It begins where reads are allowed, and goes on where they are not.
      { op: "read", from: { address: 9095 }, to: from }
    ]
    for (const operation of forbidden) {
      const fault = faultOf([{ op: "write", from, to }, operation])
      assert.include(fault, { reason: "refused" })
      assert.match(
        fault!.detail!,
        /^operation 1: the peer's buffer (read|written) is not for remote-/
      )
    }
    const allowed: ReadonlyArray<Operation> = [
      { op: "read", from: read, to: from },
      { op: "write", from, to: written }
    ]
    assert.isUndefined(faultOf(allowed))
  })

  it("R31: but not one that fits", () => {
    const fits: ReadonlyArray<Operation> = [
      { op: "write", from: own.slice(0, 100), to },
      { op: "read", from: { address: 8090 }, to: own.slice(4086, 10) }
    ]
    assert.isUndefined(faultOf(fits))
  })
})

describe("a description is refused", () => {
  const buffer = { name: "kv", address: 1000, length: 100, keys: [7, 8] }
  const nics = [{ path: "p@1" }, { path: "p@2" }]
  const wrong: Record<string, unknown> = {
    "no object": 5,
    "fewer keys than cards": { nics, buffers: [{ ...buffer, keys: [7] }] },
    "more keys than cards": { nics, buffers: [{ ...buffer, keys: [7, 8, 9] }] },
    "a key of 33 bits": { nics, buffers: [{ ...buffer, keys: [7, 2 ** 32] }] },
    "an empty buffer": { nics, buffers: [{ ...buffer, length: 0 }] },
    "an address of zero": { nics, buffers: [{ ...buffer, address: 0 }] },
    "an end that cannot be counted with": { nics, buffers: [{ ...buffer, address: 2 ** 53 - 50 }] },
    "distances of some cards": { nics, buffers: [{ ...buffer, distances: [1] }] },
    "a distance that is none": { nics, buffers: [{ ...buffer, distances: [0, -1] }] },
    "a card twice": { nics: [nics[0], nics[0]], buffers: [buffer] },
    "more cards than anybody has": {
      nics: Array.from({ length: 257 }, (_, index) => ({ path: `p@${index}` })),
      buffers: []
    }
  }
  for (const [name, said] of Object.entries(wrong)) {
    it.effect(`R31: ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Directory.check("p", said))
        assert.strictEqual(error.reason, "invalid")
      })
    )
  }

  it.effect("R31: but not one with a key for each card, or none", () =>
    Directory.check("p", {
      nics,
      buffers: [
        { ...buffer, distances: [0, 2] },
        { ...buffer, keys: [] }
      ]
    })
  )
})
