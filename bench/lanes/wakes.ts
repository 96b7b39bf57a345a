/**
 * Two wake-ups and nothing else: what any trip through a sleeping worker costs at least. Both
 * threads sleep in their event loops, and one wakes the other by the lanes' doorbells or by a
 * message.
 */
import { parentPort, Worker, workerData } from "node:worker_threads"
import { Doorbell, doorbellBytes } from "../../src/native/lanes/doorbell.ts"
import { type Outcome } from "../harness.ts"
import { timed } from "./trip.ts"

interface Shared {
  readonly wakes: "doorbell" | "message"
  readonly bells: ReadonlyArray<SharedArrayBuffer>
  /** How often the main thread has asked, and how often the worker has answered. */
  readonly counts: SharedArrayBuffer
}

const doorbells = ({ bells }: Shared): readonly [Doorbell, Doorbell] => {
  const [main, worker] = bells.map((memory) => new Doorbell(new Int32Array(memory)))
  if (main === undefined || worker === undefined) throw new Error("no doorbells")
  return [main, worker]
}

/** Sleeps until the count differs from the one seen last, each time it does. */
const follow = (bell: Doorbell, counts: Int32Array, index: number, changed: () => void): void => {
  let seen = 0
  const look = (): void => {
    const now = Atomics.load(counts, index)
    if (now !== seen) {
      seen = now
      changed()
    }
    const ring = bell.sleepUnless(() => Atomics.load(counts, index) !== seen)
    if (ring === undefined) setImmediate(look)
    else void ring.then(look)
  }
  look()
}

const answer = (shared: Shared): void => {
  // A message port keeps the worker's event loop alive.
  parentPort?.on("message", (message) => parentPort?.postMessage(message))
  if (shared.wakes === "message") return
  const [main, own] = doorbells(shared)
  const counts = new Int32Array(shared.counts)
  follow(own, counts, 0, () => {
    Atomics.add(counts, 1, 1)
    main.ring()
  })
}

const bareWakes = (wakes: Shared["wakes"]) => {
  const bell = () => new SharedArrayBuffer(doorbellBytes)
  const shared: Shared = { wakes, bells: [bell(), bell()], counts: new SharedArrayBuffer(8) }
  const worker = new Worker(new URL(import.meta.url), { workerData: shared })
  const [own, theirs] = doorbells(shared)
  const counts = new Int32Array(shared.counts)
  const trip = timed(wakes, () => {
    if (wakes === "message") worker.postMessage(0)
    else {
      Atomics.add(counts, 0, 1)
      theirs.ring()
    }
  })
  worker.on("message", () => trip.returned())
  if (wakes === "doorbell") follow(own, counts, 1, () => trip.returned())
  worker.once("online", () => setTimeout(trip.go, 200))
  return trip.done
}

export const wakes = async (): Promise<Record<string, Outcome>> => ({
  ...(await bareWakes("doorbell")),
  ...(await bareWakes("message"))
})

if (workerData?.wakes !== undefined) answer(workerData as Shared)
