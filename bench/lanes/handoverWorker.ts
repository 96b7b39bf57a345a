/**
 * The worker side of the hand-over bench: makes frames of 256 bytes as fast as they are taken,
 * through the lanes' outlet or as messages of 32.
 */
import { parentPort, workerData } from "node:worker_threads"
import { Doorbell } from "../../src/native/io/internal/doorbell.ts"
import type { SocketLane } from "../../src/native/io/internal/socketLane.ts"
import { OutboxWriter } from "../../src/native/io/internal/outboxWriter.ts"
import { RingProducer } from "../../src/native/io/internal/ring.ts"
import { mapChunkPool, ChunkWriter } from "../../src/native/io/internal/chunkPool.ts"
import { type HandoverMemory, perBatch, shape, size } from "./handover.ts"

/** Frames as piscina's task returns them. */
export default (first: number): Array<Uint8Array> =>
  Array.from({ length: perBatch }, (_, i) => new Uint8Array(size).fill(first + i))

/** Batches under way as messages; the main thread asks for the next one with each answer. */
const byMessages = (): void => {
  parentPort?.on("message", (first: number) => {
    const frames: Array<Uint8Array> = []
    for (let i = 0; i < perBatch; i++) frames.push(new Uint8Array(size).fill(first + i))
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window
    parentPort?.postMessage(frames)
  })
}

const byOutlet = ({ bells, frames, rings, slab, table }: HandoverMemory): void => {
  const [mainBell, ownBell] = bells.map((memory) => new Doorbell(new Int32Array(memory)))
  if (mainBell === undefined || ownBell === undefined) return
  const outlet = new OutboxWriter(
    new RingProducer(new Int32Array(rings)),
    new ChunkWriter(mapChunkPool(slab, shape)),
    new Int32Array(table),
    mainBell
  )
  const state = { held: false }
  const place = { slot: 0, generation: 1, chunk: undefined, handedOver: 0 }
  // Only what the outlet uses of a lane: its place, its limit, and that it can be held.
  const lane = {
    place,
    limits: { receiveBytes: 1_048_576 },
    hold: () => (state.held = true),
    unhold: () => (state.held = false)
  } as unknown as SocketLane
  const read = new Uint8Array(perBatch * size)
  const ends = Int32Array.from({ length: perBatch }, (_, i) => (i + 1) * size)
  let sent = 0
  const turn = (): void => {
    for (let batch = 0; batch < 16 && !state.held && sent < frames; batch++) {
      for (let i = 0; i < perBatch; i++) read.fill(sent + i, i * size, (i + 1) * size)
      outlet.frames(lane, read, 0, ends, perBatch)
      sent += perBatch
    }
    if (state.held) {
      ownBell.arm()
      outlet.retry()
      const rung = state.held ? ownBell.sleep() : undefined
      if (rung !== undefined) {
        void rung.then(() => {
          outlet.retry()
          setImmediate(turn)
        })
        return
      }
    }
    if (sent < frames || state.held) setImmediate(turn)
  }
  turn()
  // Waiting on a doorbell keeps no thread alive.
  parentPort?.on("message", () => {})
}

if (workerData === "messages") byMessages()
else if (workerData?.rings !== undefined) byOutlet(workerData as HandoverMemory)
