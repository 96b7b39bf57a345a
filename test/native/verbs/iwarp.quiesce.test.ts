/**
 * Goal: memory is its owner's again once it was taken back, also from sessions that are slow or
 * dead; one that is dead is waited for once.
 * Method: a thread uses a region as a session does until this one waits for it, or this one
 * pretends to and never leaves; the waits are counted, not timed.
 */
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { RegionTable } from "../../../src/native/iwarp/regionTable.ts"
import { Worker } from "node:worker_threads"
import { Receiver } from "../../../src/native/iwarp/receive.ts"
import { QueueMemory } from "../../../src/native/iwarp/queueMemory.ts"
import { type QueuePairHost, IwarpQueuePair } from "../../../src/native/iwarp/queuePair.ts"
import { IwarpRegion, Regions } from "../../../src/native/iwarp/regions.ts"
import { BufferTable } from "../../../src/native/iwarp/placement.ts"
import { LaneError, WorkerCrashed } from "../../../src/native/io/LaneError.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { SoftwareCompletionQueue } from "../../../src/native/verbs/software/completions.ts"
import { Resource } from "../../../src/native/verbs/provider/resources.ts"
import { ReceiveRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import type { Use } from "../../fixtures/regionUser.ts"

afterEach(() => void vi.restoreAllMocks())

const access = ["local-write", "remote-write", "remote-read"] as const
const holding = new Resource("device", [], () => undefined)

const regionOf = (regions: Regions): IwarpRegion => {
  const memory = new SharedArrayBuffer(64)
  const spec = { memory, offset: 0, length: 64, access }
  return new IwarpRegion(regions, spec, { domain: 1, owners: [holding] }, 1)
}

const device = () => {
  let barriers = 0
  const regions = new Regions(Effect.sync(() => void (barriers += 1)))
  return { regions, barriers: () => barriers }
}

/**
 * A thread that uses a region; returns once it does. It leaves when this thread first waits, and
 * `hasLeft` tells whether it has.
 */
const user = Effect.fnUntraced(function* (regions: Regions, region: IwarpRegion) {
  const flags = new SharedArrayBuffer(12)
  const words = new Int32Array(flags)
  const table = regions.table.memory
  const workerData: Use = { table, row: region.row, key: region.remoteKey, flags }
  yield* Effect.acquireRelease(
    Effect.sync(
      () => new Worker(new URL("../../fixtures/regionUser.ts", import.meta.url), { workerData })
    ),
    (worker) => Effect.promise(() => worker.terminate())
  )
  yield* Effect.promise(async () => {
    while (Atomics.load(words, 0) === 0) await Atomics.waitAsync(words, 0, 0).value
  })
  const { wait } = Atomics
  vi.spyOn(Atomics, "wait").mockImplementation((...place) => {
    Atomics.store(words, 1, 1)
    Atomics.notify(words, 1)
    return wait(...place)
  })
  return { hasLeft: () => Atomics.load(words, 2) === 1 }
})

describe("a region that a session is using", () => {
  for (const [how, take] of [
    ["revoked", (region: IwarpRegion) => region.revoke],
    ["given a new key", (region: IwarpRegion) => Effect.sync(() => region.renewKey())],
    ["released", (region: IwarpRegion) => Effect.sync(() => region.resource.release())]
  ] as const) {
    it.live(`is waited for when it is ${how}`, () =>
      Effect.gen(function* () {
        const { barriers, regions } = device()
        const region = regionOf(regions)
        const { hasLeft } = yield* user(regions, region)
        assert.isFalse(hasLeft())
        yield* take(region)
        assert.deepStrictEqual([hasLeft(), barriers()], [true, 0])
      }).pipe(Effect.scoped)
    )
  }

  it.live("is waited for before a peer's invalidation of its key is told", () =>
    Effect.gen(function* () {
      const { regions } = device()
      const region = regionOf(regions)
      const { hasLeft } = yield* user(regions, region)
      const queues = QueueMemory.make({
        sendDepth: 4,
        receiveDepth: 4,
        scatterEntries: 1,
        inlineBytes: 8
      })
      queues.postReceive(0, new ReceiveRequest(), () => ({ row: 0, generation: 0 }))
      const bytes = new Uint8Array(region.memory)
      const memory = new BufferTable(regions.table, () => bytes, 1, 7)
      const told: Array<boolean> = []
      const port = {
        fpduVerified: () => undefined,
        received: (_: number, __: number | undefined, key: number) => {
          assert.strictEqual(key, key === 0 ? 0 : invalidateStag)
          told.push(hasLeft())
        }
      } as unknown as ConstructorParameters<typeof Receiver>[0]
      const options = { domain: 1, ird: 1, ord: 1, receiveAt: 0, crc: undefined }
      const input = new Receiver(port, queues, memory, options)
      const invalidateStag = region.remoteKey
      const payload = new Uint8Array(0)
      const last = { _tag: "Send", last: 1, solicited: 0, msn: 1, mo: 0, payload } as const
      const fpdu = encode({ ...last, invalidateStag }, undefined)
      input.push(fpdu, 0, fpdu.length)
      assert.deepStrictEqual(told, [true])
    }).pipe(Effect.scoped)
  )
})

describe("a region whose user is dead", () => {
  it.live("L16: is waited for once, gets no key, and its row goes to no other region", () =>
    Effect.gen(function* () {
      const { barriers, regions } = device()
      const region = regionOf(regions)
      assert.isTrue(regions.table.acquireByKey(region.row, region.remoteKey))
      const wait = vi.spyOn(Atomics, "wait")
      assert.strictEqual(region.renewKey(), 0)
      const waits = wait.mock.calls.length
      assert.isAbove(waits, 0)
      assert.strictEqual(region.renewKey(), 0)
      yield* region.revoke
      assert.strictEqual(barriers(), 1)
      region.resource.release()
      const others = Array.from({ length: 3 }, () => regionOf(regions))
      for (const other of others) other.resource.release()
      assert.strictEqual(wait.mock.calls.length, waits)
      assert.isFalse(others.some(({ row }) => row === region.row))
    })
  )
})

describe("a queue pair whose session does not leave", () => {
  const make = () => {
    const later: Array<() => void> = []
    const host = {
      regions: device().regions,
      connectTo: () => undefined,
      startPeerTimeout: () => undefined,
      onFatal: () => undefined,
      gids: () => [],
      afterBarrier: (act: () => void) => void later.push(act)
    } satisfies QueuePairHost
    const completions = new SoftwareCompletionQueue(16)
    const memory = QueueMemory.make({
      sendDepth: 4,
      receiveDepth: 4,
      scatterEntries: 1,
      inlineBytes: 8
    })
    const queuePair = new IwarpQueuePair({
      domain: 1,
      owners: [holding],
      sends: completions,
      receives: completions,
      sendDepth: 4,
      receiveDepth: 4,
      reads: 4,
      host,
      number: 17,
      memory,
      buffer: 1,
      limits: { scatterEntries: 1, inlineBytes: 8, messageBytes: 64 },
      released: () => undefined
    })
    return { completions, later, memory, queuePair }
  }

  const crashed = (isStuck: boolean) =>
    new LaneError({ peer: "127.0.0.1:1", reason: new WorkerCrashed({ detail: "broken", isStuck }) })

  it.effect("ends its work before its connection is told of the end", () =>
    Effect.gen(function* () {
      const { queuePair } = make()
      yield* queuePair.modify({ to: "init" })
      assert.strictEqual(queuePair.postReceive(new ReceiveRequest()), "accepted")
      const left: Array<number> = []
      queuePair.connection = { onLeft: () => left.push(queuePair.outstandingReceives) }
      queuePair.fail("failed")
      assert.deepStrictEqual(left, [0])
    })
  )

  it.effect("L16: ends its work only when no session uses it, and waits once", () =>
    Effect.gen(function* () {
      const { completions, later, memory, queuePair } = make()
      yield* queuePair.modify({ to: "init" })
      assert.strictEqual(queuePair.postReceive(new ReceiveRequest()), "accepted")
      assert.isTrue(memory.acquire(memory.begin()))
      const wait = vi.spyOn(Atomics, "wait")
      queuePair.fail("failed")
      const waits = wait.mock.calls.length
      assert.isAbove(waits, 0)
      queuePair.fail("failed")
      const batch = new CompletionBatch(4)
      assert.strictEqual(completions.poll(batch), 0)
      assert.strictEqual(later.length, 1)
      later[0]!()
      assert.deepStrictEqual([completions.poll(batch), queuePair.state], [1, "err"])
      // The dead user counts no more.
      yield* queuePair.modify({ to: "reset" })
      yield* queuePair.modify({ to: "init" })
      memory.begin()
      queuePair.fail("failed")
      assert.deepStrictEqual([wait.mock.calls.length, later.length], [waits, 1])
      assert.strictEqual(queuePair.state, "err")
    })
  )

  it.effect("L16: does not wait for a session that has died with its worker", () =>
    Effect.gen(function* () {
      const { later, memory, queuePair } = make()
      yield* queuePair.modify({ to: "init" })
      assert.isTrue(memory.acquire(memory.begin()))
      const wait = vi.spyOn(Atomics, "wait")
      queuePair.ended(crashed(false))
      assert.deepStrictEqual([wait.mock.calls.length, later.length], [0, 0])
      assert.strictEqual(queuePair.state, "err")
    })
  )

  it.effect(
    "L14: waits for a session whose worker is stuck, since its thread may still write",
    () =>
      Effect.gen(function* () {
        const { completions, later, memory, queuePair } = make()
        yield* queuePair.modify({ to: "init" })
        assert.strictEqual(queuePair.postReceive(new ReceiveRequest()), "accepted")
        assert.isTrue(memory.acquire(memory.begin()))
        queuePair.ended(crashed(true))
        const batch = new CompletionBatch(4)
        assert.deepStrictEqual([completions.poll(batch), later.length], [0, 1])
        later[0]!()
        assert.deepStrictEqual([completions.poll(batch), queuePair.state], [1, "err"])
      })
  )
})

describe("a key", () => {
  it("makes no other key of its place void", () => {
    const table = new RegionTable()
    const key = 0x0001_0005
    const samePlace = 0x0002_0005
    assert.isTrue(table.grant(key, 3))
    assert.isFalse(table.grant(samePlace, 4))
    assert.isFalse(table.invalidate(samePlace))
    assert.strictEqual(table.find(key), 3)
    assert.isTrue(table.invalidate(key))
    assert.strictEqual(table.find(key), -1)
  })
})
