/** Calls in a closed loop: so many are in flight, and each one that ends begins the next. */
import type { Outcome } from "../harness.ts"

/** Bytes of a NULL call and of its reply by RPC-over-RDMA; the others carry as many. */
export const [callBytes, replyBytes] = [68, 52] as const

/** Calls of a run; those before it, which warm up, are a tenth. */
export const callsOf = (inFlight: number): number => (inFlight < 8 ? 2_000 : 20_000)

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!

/** Runs `call`, which says when it has ended, and measures rate and latency. */
export const closedLoop = async (
  inFlight: number,
  call: (ended: (error?: unknown) => void) => void
): Promise<Record<string, Outcome>> => {
  const times: Array<number> = []
  const run = (count: number) =>
    new Promise<void>((resolve, reject) => {
      let [begun, done] = [0, 0]
      const next = (): void => {
        begun++
        const start = performance.now()
        call((error) => {
          if (error !== undefined) return reject(error)
          times.push(performance.now() - start)
          done++
          if (done === count) resolve()
          else if (begun < count) next()
        })
      }
      for (let index = 0; index < Math.min(inFlight, count); index++) next()
    })
  const count = callsOf(inFlight)
  await run(count / 10)
  times.length = 0
  const start = performance.now()
  await run(count)
  const seconds = (performance.now() - start) / 1_000
  const sorted = times.toSorted((a, b) => a - b)
  const counted = { completed: times.length, expected: count }
  const micros = (share: number) => ({ value: percentile(sorted, share) * 1_000, unit: "µs" })
  return {
    [`calls-${inFlight}`]: { value: count / seconds, unit: "calls/s", ...counted },
    [`p50-${inFlight}`]: { ...micros(0.5), ...counted },
    [`p99-${inFlight}`]: { ...micros(0.99), ...counted }
  }
}
