/**
 * Goal: the main thread's end of a worker leaves no record behind when it goes to sleep.
 * Method: a driver whose worker is played by the test, over the memory that both share.
 */
import { EventEmitter } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { afterEach, vi } from "vitest"
import type { LaneHandle } from "../../../src/native/io/internal/laneHandle.ts"
import { noCounts } from "../../../src/native/io/internal/laneCounts.ts"
import type { Opener } from "../../../src/native/io/internal/openJobs.ts"
import { Header, In, Out, writeRecord } from "../../../src/native/io/internal/records.ts"
import { RingConsumer, RingProducer } from "../../../src/native/io/internal/ring.ts"
import type { WorkerStart } from "../../../src/native/io/internal/worker.ts"
import { WorkerDriver } from "../../../src/native/io/internal/workerDriver.ts"
import type * as workerMemory from "../../../src/native/io/internal/workerMemory.ts"
import { doorbellBytes } from "../../../src/native/io/internal/doorbell.ts"

const started = vi.hoisted(() => ({ starts: [] as Array<unknown>, worker: {} as unknown }))
vi.mock("../../../src/native/io/internal/workerMemory.ts", async (original) => ({
  ...(await original<typeof workerMemory>()),
  startWorker: (start: unknown) => {
    started.starts.push(start)
    return started.worker
  }
}))

afterEach(() => void vi.useRealTimers())

const limits = {
  sendBytes: 1_000,
  receiveBytes: 1_000,
  readTurnBytes: 1_000,
  writeJobBytes: 1_000,
  openWithinMs: 1_000,
  stallAfterMs: 1_000,
  closeWithinMs: 1_000
}

const opener = (opened: (handle: LaneHandle) => void): Opener => ({
  job: {
    kind: "adopt",
    fd: 0,
    initiator: false,
    framer: "",
    options: undefined,
    limits,
    tls: undefined,
    halfOpen: false
  },
  takesCommands: false,
  opened,
  listening: () => {},
  accepted: () => {},
  failed: () => {}
})

/** A driver with so many lanes, and the worker's ends of its rings. */
const driven = (count: number) => {
  let terminations = 0
  started.worker = Object.assign(new EventEmitter(), {
    ref: () => {},
    unref: () => {},
    postMessage: () => {},
    terminate: () => void terminations++
  })
  const sizes = {
    inboxWords: 256,
    outboxWords: 1_024,
    chunkPool: { chunks: 2, chunkBytes: 256 },
    lanes: count,
    openJobsMax: count,
    limits
  }
  const driver = new WorkerDriver(sizes, 0, new SharedArrayBuffer(doorbellBytes), {
    gone: () => {},
    opened: () => {},
    onStaleRecord: () => {},
    regions: () => [],
    totals: noCounts()
  })
  const { memory } = started.starts.at(-1) as WorkerStart
  const inbox = new RingConsumer(new Int32Array(memory.inbox))
  const outbox = new RingProducer(new Int32Array(memory.outbox))
  const lanes: Array<LaneHandle> = []
  for (let slot = 0; slot < count; slot++) {
    const job = driver.open(opener((handle) => lanes.push(handle)))!
    assert.isTrue(writeRecord(outbox, Out.opened, slot, 1, undefined, job))
  }
  outbox.publish()
  driver.drain()
  assert.lengthOf(lanes, count)
  /** Takes the records of the inbox; returns the slots of those that close a lane. */
  const takeCloses = (): ReadonlyArray<number> => {
    const slots: Array<number> = []
    inbox.poll()
    for (let at = inbox.next(); at >= 0; at = inbox.next()) {
      if (inbox.words[at + Header.kind] === In.close) slots.push(inbox.words[at + Header.slot]!)
    }
    inbox.release()
    inbox.takeWaiting()
    return slots
  }
  return { driver, lanes, takeCloses, terminations: () => terminations }
}

describe("the main thread's end of a worker", () => {
  it("dispatches what found no room in the last look before sleep", () => {
    const count = 40
    const { driver, lanes, takeCloses } = driven(count)
    for (const lane of lanes) lane.abort()
    // Finds no room: from here on only a doorbell, or the last look, brings it back.
    driver.drain()
    const first = takeCloses()
    assert.isBelow(first.length, count)
    // The worker has rung before this thread raised its flag, so it does not ring again.
    assert.isFalse(driver.hasPending())
    assert.deepStrictEqual(
      [...first, ...takeCloses()],
      lanes.map((_, slot) => slot)
    )
  })

  it("gives up a worker that does not end within its time after it was asked", () => {
    vi.useFakeTimers()
    const { driver, terminations } = driven(0)
    driver.stop(50)
    vi.advanceTimersByTime(49)
    assert.strictEqual(terminations(), 0)
    vi.advanceTimersByTime(1)
    assert.strictEqual(terminations(), 1)
  })
})
