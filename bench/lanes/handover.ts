/**
 * Hand-over of frames of 256 bytes from a worker to the main thread, without sockets: the lanes'
 * slab and ring, messages of 32 frames, and piscina's tasks of 32 frames.
 */
import { Worker } from "node:worker_threads"
import { FrameBatch } from "../../src/native/io/FrameBatch.ts"
import { Doorbell, doorbellBytes } from "../../src/native/io/internal/doorbell.ts"
import { FramesRecord, Row } from "../../src/native/io/internal/records.ts"
import { ringBytes, RingConsumer } from "../../src/native/io/internal/ring.ts"
import {
  chunkPoolBytes,
  mapChunkPool,
  ChunkReader
} from "../../src/native/io/internal/chunkPool.ts"
import type { Outcome } from "../harness.ts"

export const size = 256
export const perBatch = 32
export const shape = { chunks: 32, chunkBytes: 262_144 }

/** Batches that messages and tasks have under way. */
const window = 8

export interface HandoverMemory {
  readonly rings: SharedArrayBuffer
  readonly slab: SharedArrayBuffer
  readonly table: SharedArrayBuffer
  readonly bells: ReadonlyArray<SharedArrayBuffer>
  readonly frames: number
}

const module = new URL("./handoverWorker.ts", import.meta.url)

/** Times frames from the first quarter on. */
const meter = (frames: number) => {
  let seen = 0
  let sum = 0
  let from = 0
  let start = 0
  let resolve: (outcome: Record<string, Outcome>) => void = () => {}
  const done = new Promise<Record<string, Outcome>>((settle) => (resolve = settle))
  const note = (bytes: Uint8Array, at: number): void => {
    sum += bytes[at] ?? 0
    if (++seen * 4 === frames) {
      from = seen
      start = performance.now()
    }
    if (seen !== frames) return
    const value = ((frames - from) * 1000) / (performance.now() - start)
    resolve({ handover: { value, unit: "frames/s", completed: seen, expected: frames } })
  }
  return { note, done, sum: () => sum }
}

export const byRing = (frames: number): Promise<Record<string, Outcome>> => {
  const { done, note } = meter(frames)
  const bell = () => new SharedArrayBuffer(doorbellBytes)
  const memory: HandoverMemory = {
    rings: new SharedArrayBuffer(ringBytes(65_536)),
    slab: new SharedArrayBuffer(chunkPoolBytes(shape)),
    table: new SharedArrayBuffer(Row.words * 4),
    bells: [bell(), bell()],
    frames
  }
  const [ownBell, theirBell] = memory.bells.map((bytes) => new Doorbell(new Int32Array(bytes)))
  const ring = new RingConsumer(new Int32Array(memory.rings))
  const slab = new ChunkReader(mapChunkPool(memory.slab, shape))
  const table = new Int32Array(memory.table)
  const batch = new FrameBatch()
  const take = (at: number): void => {
    const { words } = ring
    const [first, count, from] = [
      FramesRecord.firstEntry,
      FramesRecord.count,
      FramesRecord.firstByte
    ].map((offset) => words[at + offset] ?? 0)
    batch.set(slab.memory.bytes, slab.memory.ends, first ?? 0, count ?? 0, from ?? 0)
    for (let i = 0; i < batch.count; i++) note(batch.bytes, batch.start(i))
    Atomics.add(table, Row.consumed, batch.byteLength)
    slab.finish(words[at + FramesRecord.chunk] ?? 0)
  }
  const loop = (): void => {
    ownBell?.disarm()
    while (ring.poll()) {
      for (let at = ring.next(); at >= 0; at = ring.next()) take(at)
      ring.release()
    }
    const room = ring.takeWaiting()
    const user = Atomics.exchange(table, Row.waiting, 0) === 1
    if (room || user) theirBell?.ring()
    ownBell?.arm()
    const rung = ring.poll() ? undefined : ownBell?.sleep()
    if (rung === undefined) setImmediate(loop)
    else void rung.then(loop)
  }
  const worker = new Worker(module, { workerData: memory })
  worker.once("online", loop)
  return done
}

export const byMessages = (frames: number): Promise<Record<string, Outcome>> => {
  const { done, note } = meter(frames)
  const worker = new Worker(module, { workerData: "messages" })
  let asked = 0
  const ask = (): void => {
    if (asked >= frames) return
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window
    worker.postMessage(asked)
    asked += perBatch
  }
  worker.on("message", (batch: ReadonlyArray<Uint8Array>) => {
    ask()
    for (const bytes of batch) note(bytes, 0)
  })
  for (let i = 0; i < window; i++) ask()
  return done
}

export const byPiscina = async (frames: number): Promise<Record<string, Outcome>> => {
  const { Piscina } = await import("piscina")
  const { done, note } = meter(frames)
  const pool = new Piscina({ filename: module.href, maxThreads: 1, minThreads: 1 })
  let asked = 0
  const ask = async (): Promise<void> => {
    while (asked < frames) {
      asked += perBatch
      const batch: ReadonlyArray<Uint8Array> = await pool.run(asked)
      for (const bytes of batch) note(bytes, 0)
    }
  }
  await Promise.all(Array.from({ length: window }, ask))
  return done
}
