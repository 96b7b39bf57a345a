/** Calls in a closed loop: so many are in flight, and each one that ends begins the next. */
import * as Effect from "effect/Effect"
import type { Outcome } from "../harness.ts"

/** Bytes of a NULL call and of its reply by RPC-over-RDMA; the others carry as many. */
export const [callBytes, replyBytes] = [68, 52] as const

/** Calls of a run. Those before it, which warm up, are half as many: some code is compiled late. */
export const callsOf = (inFlight: number): number => (inFlight < 8 ? 4_000 : 40_000)

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!

/** Makes so many calls, and writes down how long each took, in milliseconds. */
export type Run = (calls: number, times: Array<number>) => Promise<void>

/** Warms up, then measures rate and latency. */
export const measured = async (inFlight: number, run: Run): Promise<Record<string, Outcome>> => {
  const count = callsOf(inFlight)
  await run(count / 2, [])
  const times: Array<number> = []
  const start = performance.now()
  await run(count, times)
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

/** Runs so many callers, each a fiber that makes one call after the other. */
export const byFibers =
  <E>(inFlight: number, call: Effect.Effect<void, E>): Run =>
  (calls, times) => {
    let begun = 0
    const caller = Effect.gen(function* () {
      while (begun < calls) {
        begun++
        const start = performance.now()
        yield* call
        times.push(performance.now() - start)
      }
    })
    const callers = Array.from({ length: inFlight }, () => caller)
    return Effect.runPromise(Effect.all(callers, { concurrency: "unbounded", discard: true }))
  }

/** The same with a function that says when its call has ended. */
export const byCallbacks =
  (inFlight: number, call: (ended: (error?: unknown) => void) => void): Run =>
  (calls, times) =>
    new Promise<void>((resolve, reject) => {
      let [begun, done] = [0, 0]
      const next = (): void => {
        begun++
        const start = performance.now()
        call((error) => {
          if (error !== undefined) return reject(error)
          times.push(performance.now() - start)
          done++
          if (done === calls) resolve()
          else if (begun < calls) next()
        })
      }
      for (let index = 0; index < Math.min(inFlight, calls); index++) next()
    })

/** Results of 1 MiB, `inFlight` at once: what they bring in a second. */
export const bulk = async (
  [calls, inFlight, bytes]: readonly [calls: number, inFlight: number, bytes: number],
  run: (inFlight: number) => Run
): Promise<Record<string, Outcome>> => {
  await run(inFlight)(calls / 2, [])
  const times: Array<number> = []
  const start = performance.now()
  await run(inFlight)(calls, times)
  const value = (times.length * bytes) / ((performance.now() - start) / 1_000) / 1e6
  return { "bulk-1m": { value, unit: "MB/s", completed: times.length, expected: calls } }
}
