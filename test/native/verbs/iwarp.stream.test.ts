/**
 * Goal: a peer that takes bytes is alive, however slowly it takes them; one that takes none is not
 * waited for longer than it is told.
 * Method: a stream whose socket and clock the test plays itself.
 */
import { assert, describe, it } from "@effect/vitest"
import { afterEach, beforeEach, vi } from "vitest"
import type { FramerPort } from "../../../src/native/io/Framer.ts"
import { QueueMemory } from "../../../src/native/iwarp/queueMemory.ts"
import { RegionTable } from "../../../src/native/iwarp/regionTable.ts"
import { Stream } from "../../../src/native/iwarp/stream.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const answerWithinMs = 1_000

/** A stream with two batches at its socket; `taken[n]` tells it that the peer took the batch. */
const streaming = () => {
  const queues = QueueMemory.make({
    sendDepth: 4,
    receiveDepth: 4,
    scatterEntries: 1,
    inlineBytes: 8
  })
  const taken: Array<() => void> = []
  const refusals: Array<string> = []
  const port: FramerPort = {
    initiator: true,
    write: () => {},
    writeNow: (_parts, written) => void taken.push(written),
    deliver: () => {},
    region: () => new Uint8Array(queues.memory),
    now: () => 0n,
    refuse: (reason) => void refusals.push(reason)
  }
  const none = new Uint8Array(0)
  const stream = new Stream({
    port,
    table: new RegionTable(),
    bind: { queues: 1, epoch: queues.begin(), domain: 1, rights: 0, sendAt: 0, receiveAt: 0 },
    settled: {
      _tag: "Settled",
      revision: 2,
      crc: false,
      ready: "write",
      ird: 1,
      ord: 1,
      privateData: none
    },
    crc: undefined,
    maximumUlpdu: undefined,
    answerWithinMs
  })
  stream.begin("write")
  const work = Object.assign(new SendRequest(), { opcode: "write" })
  queues.postSend(0, work, 0, () => ({ row: -1, generation: 0 }))
  stream.kick()
  assert.lengthOf(taken, 2)
  return { refusals, taken }
}

describe("a peer that owes an answer", () => {
  it("is given up when it takes no bytes for too long", () => {
    const { refusals } = streaming()
    vi.advanceTimersByTime(answerWithinMs - 1)
    assert.deepStrictEqual(refusals, [])
    vi.advanceTimersByTime(1)
    assert.deepStrictEqual(refusals, [`no sign of the peer within ${answerWithinMs} ms`])
  })

  it("has as long again when it takes some", () => {
    const { refusals, taken } = streaming()
    vi.advanceTimersByTime(answerWithinMs - 1)
    taken[0]!()
    vi.advanceTimersByTime(answerWithinMs)
    assert.deepStrictEqual(refusals, [])
    vi.advanceTimersByTime(answerWithinMs)
    assert.lengthOf(refusals, 1)
  })
})
