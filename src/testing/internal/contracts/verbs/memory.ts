/** Demands on one-sided work: writes, reads and atomic operations. */
import * as Effect from "effect/Effect"
import type { Completion } from "../../../../native/verbs/Completion.ts"
import { same } from "../contract.ts"
import { Pair } from "./pair.ts"
import {
  completions,
  connected,
  demand,
  type End,
  ended,
  holds,
  pattern,
  post,
  receive,
  silent,
  work
} from "./rig.ts"

const lengths = [1, 4, 63, 1424, 4096, 64_513, 100_000]

/** A barrier: once it has ended, all earlier writes of `a` are in `b`'s memory. */
const settle = Effect.fnUntraced(function* (a: End, b: End) {
  yield* receive(b, 777, b.region.length - 1, 1)
  yield* post(a, work(a, { id: 777, signalled: false }))
  yield* ended(b, { id: 777, length: 0 })
})

/** Adds from both sides' posts, and returns the values that each of them found. */
const additions = Effect.fnUntraced(function* (a: End, b: End, count: number) {
  for (let id = 0; id < count; id++) {
    const add = work(a, { id, opcode: "fetch-add", value: 3n, at: 8 * id, length: 8 })
    yield* post(a, add.remote(b.region.remoteKey, b.region.address + 16))
  }
  const all: ReadonlyArray<Completion> = yield* completions(a, count)
  const words = new BigUint64Array(a.region.memory, a.region.offset, count)
  return { statuses: new Set(all.map(({ status }) => status)), found: words.slice() }
})

export const memory = [
  demand("a write puts its bytes in place, and no others", function* () {
    const { a, b } = yield* connected({ bytes: 110_000 })
    const bytes = pattern(110_000)
    a.region.bytes.set(bytes)
    for (const [id, length] of lengths.entries()) {
      b.region.bytes.fill(0xee)
      const write = work(a, { id, opcode: "write", length, at: 5 })
      yield* post(a, write.remote(b.region.remoteKey, b.region.address + 7))
      yield* ended(a, { id, kind: "write", status: "success" })
      yield* settle(a, b)
      yield* holds(b.region, 7, bytes.subarray(5, 5 + length), `${length} bytes`)
      yield* same([b.region.bytes[6], b.region.bytes[7 + length]], [0xee, 0xee], "bytes beside")
    }
    yield* silent(b, "completions of the side that was written to")
  }),

  demand("memory has one address, on all devices and for all registrations", function* () {
    const { active } = yield* Pair
    const names = (yield* active.devices).map(({ name }) => name)
    const buffer = new SharedArrayBuffer(20_000)
    const bases = new Set<number>()
    for (const name of [names[0], names.at(-1)]) {
      const domain = yield* (yield* active.open(name)).protectionDomain
      for (const offset of [0, 8, 12_345]) {
        const { address } = yield* domain.register({ memory: buffer, offset, length: 100 })
        bases.add(address - offset)
      }
      const other = yield* domain.register({ memory: 20_000 })
      const [base = 0] = bases
      yield* same(Math.abs(other.address - base) >= 20_000, true, "other memory is elsewhere")
    }
    yield* same(bases.size, 1, "addresses of one buffer")
  }),

  demand("a write that has ended may be followed by others to its source", function* () {
    const { a, b } = yield* connected()
    for (let round = 0; round < 20; round++) {
      a.region.bytes.fill(round, 0, 4096)
      const write = work(a, { id: round, opcode: "write", length: 4096 })
      yield* post(a, write.remote(b.region.remoteKey, b.region.address))
      yield* ended(a, { id: round, status: "success" })
      a.region.bytes.fill(0xff, 0, 4096)
      yield* settle(a, b)
      yield* holds(b.region, 0, new Uint8Array(4096).fill(round), `round ${round}`)
    }
  }),

  demand("a message tells that the writes before it are done", function* () {
    const { a, b } = yield* connected()
    yield* receive(b, 1, 60_000, 1)
    a.region.bytes.set(pattern(50_000))
    const write = work(a, { opcode: "write", length: 50_000, signalled: false })
    yield* post(a, write.remote(b.region.remoteKey, b.region.address))
    yield* post(a, work(a, { id: 2 }))
    yield* ended(b, { id: 1 })
    yield* holds(b.region, 0, pattern(50_000), "bytes")
  }),

  demand("a read brings the bytes of the peer", function* () {
    const { a, b } = yield* connected({ bytes: 110_000 })
    const bytes = pattern(110_000, 9)
    b.region.bytes.set(bytes)
    for (const [id, length] of lengths.entries()) {
      a.region.bytes.fill(0xee)
      const read = work(a, { id, opcode: "read", length, at: 3 })
      yield* post(a, read.remote(b.region.remoteKey, b.region.address + 11))
      yield* ended(a, { id, kind: "read", status: "success", length })
      yield* holds(a.region, 3, bytes.subarray(11, 11 + length), `${length} bytes`)
      yield* same([a.region.bytes[2], a.region.bytes[3 + length]], [0xee, 0xee], "bytes beside")
    }
    yield* silent(b, "completions of the side that was read")
  }),

  demand("more reads than agreed wait for their turn", function* () {
    const { a, b } = yield* connected({}, { inboundReads: 2, outboundReads: 2 })
    b.region.bytes.set(pattern(1000))
    for (let id = 0; id < 10; id++) {
      const read = work(a, { id, opcode: "read", length: 100, at: 100 * id })
      yield* post(a, read.remote(b.region.remoteKey, b.region.address + 100 * id))
    }
    const all = yield* completions(a, 10)
    yield* same(
      all.map(({ id }) => id),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      "ends"
    )
    yield* holds(a.region, 0, pattern(1000), "bytes")
  }),

  demand("work posted after a read ends after it", function* () {
    const { a, b } = yield* connected()
    const { address, remoteKey } = b.region
    for (const round of [0, 10]) {
      yield* post(
        a,
        work(a, { id: round, opcode: "read", length: 4096 }).remote(remoteKey, address)
      )
      const write = work(a, { id: round + 1, opcode: "write", length: 8, at: 8192 })
      yield* post(a, write.remote(remoteKey, address + 8192))
    }
    const all = yield* completions(a, 4)
    yield* same(
      all.map(({ id }) => id),
      [0, 1, 10, 11],
      "ends"
    )
  }),

  demand("work without bytes needs no key", function* () {
    const { a, b } = yield* connected()
    for (const opcode of ["write", "read"] as const) {
      yield* post(a, work(a, { opcode }).remote(0x5555, 1))
      yield* ended(a, { kind: opcode, status: "success", length: 0 })
    }
    yield* same(b.queuePair.state, "rts", "state")
  }),

  demand(
    "a write with an immediate value takes a receive, and tells of the write",
    function* () {
      const { a, b } = yield* connected()
      a.region.bytes.set(pattern(9000))
      for (const [id, length] of [9000, 0].entries()) {
        yield* receive(b, id, 60_000, 8)
        const immediate = 0xdeadbeef - id
        const write = work(a, { id, opcode: "write-immediate", length, immediate })
        yield* post(a, write.remote(b.region.remoteKey, b.region.address))
        yield* ended(b, { id, kind: "receive-immediate", status: "success", immediate, length })
        yield* ended(a, { id, kind: "write", status: "success" })
      }
      yield* holds(b.region, 0, pattern(9000), "bytes")
      yield* holds(b.region, 60_000, new Uint8Array(8), "bytes of the receive")
    },
    ["writeImmediate"]
  ),

  demand(
    "atomic additions find each other's results",
    function* () {
      const { a, b } = yield* connected()
      const word = new BigUint64Array(b.region.memory, b.region.offset + 16, 1)
      word[0] = 2n ** 64n - 6n
      const { found, statuses } = yield* additions(a, b, 30)
      yield* same([...statuses], ["success"], "ends")
      const expected = Array.from({ length: 30 }, (_, id) => BigInt.asUintN(64, BigInt(3 * id - 6)))
      yield* same([...found].join(), expected.join(), "what the additions found")
      yield* same(`${word[0]}`, "84", "the sum")
    },
    ["atomics"]
  ),

  demand(
    "compare and swap stores only where it compares equal",
    function* () {
      const { a, b } = yield* connected()
      const word = new BigUint64Array(b.region.memory, b.region.offset + 8, 1)
      word[0] = 5n
      for (const [compare, value, result] of [
        [4n, 9n, 5n],
        [5n, 0xffff_ffff_ffff_ffffn, 5n],
        [0xffff_ffff_ffff_ffffn, 7n, 0xffff_ffff_ffff_ffffn]
      ] as const) {
        const swap = work(a, { opcode: "compare-swap", compare, value, length: 8 })
        yield* post(a, swap.remote(b.region.remoteKey, b.region.address + 8))
        yield* ended(a, { kind: "compare-swap", status: "success" })
        const found = new BigUint64Array(a.region.memory, a.region.offset, 1)[0]
        yield* same(`${found}`, `${result}`, "what was there")
      }
      yield* same(`${word[0]}`, "7", "what is there")
    },
    ["atomics"]
  )
]
