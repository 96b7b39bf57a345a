/**
 * Goal: whatever goes wrong between two engines, every transfer ends exactly once and tells the
 * truth about what moved, nothing that was posted is lost or counted twice, and when the faults
 * stop, transfers succeed again and nothing is left.
 * Method: clients that write, read, cancel and set deadlines at random, over cards that fail in
 * all ways that a fabric knows; a witness keeps the books outside of the engines.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { Memory } from "../../../src/actors/rdma/Memory.ts"
import type { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { Chaos, Faults, Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"
import { pair, shared } from "./harness.ts"

const kilo = 1 << 10
const clients = 4
/** Bytes of each client on both sides, for writes and for reads. */
const half = 8 * kilo

const witness = () => ({
  begun: 0,
  ended: 0,
  moved: 0,
  failed: 0,
  cancelled: 0,
  wrong: [] as Array<string>,
  isOver: false
})
type Witness = ReturnType<typeof witness>

/** One transfer with data of its own, and what must hold after it. */
const round = Effect.fnUntraced(function* (
  books: Witness,
  engine: TransferEngine["Service"],
  client: number,
  own: Memory,
  kept: Memory,
  turn: number
) {
  const base = 2 * half * client
  const length = 1 + (yield* Random.nextIntBetween(0, half - 1))
  const mark = 1 + (turn % 250)
  own.bytes.fill(mark, base, base + half)
  kept.bytes.fill(mark, base + half, base + 2 * half)
  const within = yield* Random.nextIntBetween(0, 4)
  const transfer = engine.transfer({
    peer: "b",
    ops: [
      { op: "write", from: own.slice(base, length), to: { buffer: kept.name, offset: base } },
      {
        op: "read",
        from: { buffer: kept.name, offset: base + half },
        to: own.slice(base + half, length)
      }
    ],
    ...(within === 0 ? { within: yield* Random.nextIntBetween(1, 100) } : {})
  })
  books.begun += 1
  const fiber = yield* Effect.forkChild(transfer)
  if (within === 1) {
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 50))
    yield* Fiber.interrupt(fiber)
  }
  const exit = yield* Fiber.await(fiber)
  books.ended += 1
  const arrived = kept.bytes.subarray(base, base + length).filter((byte) => byte === mark).length
  const fetched = own.bytes.subarray(base + half, base + half + length)
  const came = fetched.filter((byte) => byte === mark).length
  if (Exit.isSuccess(exit)) {
    books.moved += 1
    if (arrived + came < 2 * length) books.wrong.push(`${2 * length - arrived - came} not moved`)
  } else if (Exit.hasInterrupts(exit)) books.cancelled += 1
  else {
    books.failed += 1
    const error = yield* Effect.flip(Effect.flatten(Effect.succeed(exit)))
    const { _tag } = error
    if (_tag === "TransferFailed" && error.moved > arrived + came) books.wrong.push("said too much")
  }
  // Nothing of it is under way: what is free is free.
  own.bytes.fill(0, base, base + 2 * half)
  kept.bytes.fill(0, base, base + 2 * half)
  yield* Effect.sleep(yield* Random.nextIntBetween(0, 200))
  const sink = own.bytes.subarray(base + half, base + 2 * half)
  const late = sink.findIndex((byte) => byte !== 0)
  if (late >= 0) books.wrong.push(`memory was written at ${late} after its transfer`)
})

const program = Effect.fnUntraced(function* (acknowledges: boolean, isEven: boolean) {
  const settings = {
    sliceBytes: kilo,
    firstWaitMs: 10,
    longestWaitMs: 500,
    unreachableAfterMs: 3000,
    coolDownMs: 500
  }
  const lab = yield* pair({
    devices: ["x", "y"],
    settings,
    wires: { depth: 8 },
    completions: 24,
    acknowledges
  })
  const { a, b, fabric, net } = lab
  const own = yield* shared(a, "own", 2 * half * clients)
  const places = [
    yield* shared(b, "left", 2 * half * clients),
    yield* shared(b, "right", 2 * half * clients)
  ]
  if (!isEven) {
    const { buffers, nics } = yield* b.description
    const near = buffers.map((buffer, index) =>
      Object.assign({}, buffer, { distances: [index, 1 - index] })
    )
    net.said.set("b", { nics, buffers: near })
  }
  const books = witness()
  yield* Sim.invariant("the books are right", () => {
    if (books.wrong.length > 0) throw new Error(books.wrong.join("; "))
    return true
  })
  const client = Effect.fnUntraced(function* (index: number) {
    const kept = places[index % 2]!
    for (let turn = 1; !books.isOver; turn++) yield* round(books, a, index, own, kept, turn)
  })
  const running = yield* Effect.forEach(
    Array.from({ length: clients }, (_, i) => i),
    (index) => Effect.forkChild(client(index))
  )
  yield* Faults.random({
    fabric: {
      nodes: ["a", "b", "a/x", "a/y", "b/x", "b/y"],
      kinds: [
        "Loss",
        "Cut",
        "Delay",
        "Rnr",
        "RetryExhaustion",
        "QueuePairError",
        "PortFlap",
        "MtuMismatch",
        "SlowModify",
        "GidChange"
      ]
    },
    within: "2 seconds",
    most: 6
  })
  yield* Effect.sleep("3 seconds")
  yield* Faults.heal
  const { moved } = books
  yield* Sim.eventually(() => books.moved > moved + clients, "60 seconds", "transfers succeed")
  books.isOver = true
  yield* Effect.forEach(running, Fiber.join)
  assert.strictEqual(books.begun, books.ended)
  assert.strictEqual(books.moved + books.failed + books.cancelled, books.ended)
  for (const { completions } of net.nics.values()) assert.strictEqual(completions.reserved, 0)
  assert.strictEqual(fabric.counters.doubleCompletions, 0)
  assert.strictEqual(fabric.counters.earlyPosts, 0)
  yield* Chaos.sometimes("a transfer failed", books.failed > 0)
  yield* Chaos.sometimes("a link was lost", net.retired.length > 0)
})

describe.each([
  ["tells", "is even", true, true],
  ["does not tell", "is even", false, true],
  ["tells", "is near to a card", true, false],
  ["does not tell", "is near to a card", false, false]
] as const)(
  "over a fabric that %s of arrivals, to memory that %s",
  (_, __, acknowledges, isEven) => {
    it.sim(
      "R16, R26, R27: each transfer ends once and truly, posted work ends once, and it goes on",
      { seeds: wideOr(40, 12), timeout: 300_000, maxSteps: 5_000_000 },
      () => program(acknowledges, isEven)
    )
  }
)
