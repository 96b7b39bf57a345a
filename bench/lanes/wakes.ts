/**
 * Two wake-ups and nothing else: what any trip through a sleeping worker costs at least. Both
 * threads sleep in their event loops, and one wakes the other by a message, or by
 * `Atomics.waitAsync` as the lanes' doorbells do.
 */
import { parentPort, Worker, workerData } from "node:worker_threads"
import type { Outcome } from "../harness.ts"
import { timed } from "./trip.ts"

interface Shared {
  readonly wakes: "message" | "wait-async"
  /** How often the main thread has asked, and how often the worker has answered. */
  readonly counts: Int32Array
}

const count = (counts: Int32Array, index: number): void => {
  Atomics.add(counts, index, 1)
  Atomics.notify(counts, index)
}

/** Sleeps until the count moves on, again and again. */
const follow = (counts: Int32Array, index: number, moved: () => void): void => {
  const seen = Atomics.load(counts, index)
  const wait = Atomics.waitAsync(counts, index, seen)
  const next = (): void => {
    // The next wait begins before the answer that may end it.
    follow(counts, index, moved)
    moved()
  }
  if (wait.async) void wait.value.then(next)
  else setImmediate(next)
}

const answer = ({ counts, wakes }: Shared): void => {
  // A message port keeps the worker's event loop alive.
  parentPort?.on("message", (message) => parentPort?.postMessage(message))
  if (wakes === "wait-async") follow(counts, 0, () => count(counts, 1))
  parentPort?.postMessage("ready")
}

const bareWakes = (wakes: Shared["wakes"]) => {
  const shared: Shared = { wakes, counts: new Int32Array(new SharedArrayBuffer(8)) }
  const worker = new Worker(new URL(import.meta.url), { workerData: shared })
  const trip = timed(wakes, () => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window
    if (wakes === "message") worker.postMessage(0)
    else count(shared.counts, 0)
  })
  worker.once("message", () => {
    if (wakes === "message") worker.on("message", trip.returned)
    else follow(shared.counts, 1, trip.returned)
    trip.go()
  })
  return trip.done
}

export const wakes = async (): Promise<Record<string, Outcome>> => ({
  ...(await bareWakes("message")),
  ...(await bareWakes("wait-async"))
})

if (workerData?.wakes !== undefined) answer(workerData as Shared)
