/** The time to the answer of a command whose event is stored, at half of the saturation rate. */
import * as Effect from "effect/Effect"
import { ACTORS, withFile } from "./files.ts"
import { names, throughActor } from "./service.ts"
import type { Outcome } from "../harness.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"

type Ask = Effect.Effect<unknown, unknown>

/** All actors are asked at the same time, each one as soon as it has answered: asks a second. */
const saturate = async (asks: ReadonlyArray<Ask>, count: number): Promise<number> => {
  const times = Math.ceil(count / ACTORS)
  const one = (ask: Ask) => Effect.repeat(ask, { times: times - 1 })
  const start = performance.now()
  await Effect.runPromise(Effect.forEach(asks, one, { concurrency: "unbounded", discard: true }))
  return (times * asks.length * 1000) / (performance.now() - start)
}

/**
 * Asks the actors in turn at so many asks a second, whether or not earlier ones are answered, and
 * gives the times from when each was due to its answer in milliseconds. An ask that leaves late,
 * because the event loop or a timer was late, has waited since it was due.
 */
const paced = (asks: ReadonlyArray<Ask>, count: number, rate: number): Promise<Array<number>> =>
  new Promise((resolve, reject) => {
    const times: Array<number> = []
    const start = performance.now()
    const dueAt = (index: number) => start + (index * 1000) / rate
    let asked = 0
    const one = async (index: number) => {
      await Effect.runPromise(asks[index % ACTORS]!)
      times.push(performance.now() - dueAt(index))
      if (times.length === count) resolve(times)
    }
    const tick = () => {
      const now = performance.now()
      while (asked < count && dueAt(asked) <= now) one(asked++).catch(reject)
      if (asked < count) setTimeout(tick, 1)
    }
    tick()
  })

/** The 99th percentile of the answers' times, and the rate that was halved. */
export const halfLoad = (count: number): Promise<Record<string, Outcome>> =>
  withFile((file) =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const asks = yield* Effect.forEach(names, (_, index) => throughActor(journal, index))
      return yield* Effect.promise(async () => {
        await saturate(asks, count / 2)
        const most = await saturate(asks, count)
        await paced(asks, Math.ceil(count / 10), most / 2)
        const times = await paced(asks, count, most / 2)
        const counted = { completed: times.length, expected: count }
        const p99 = times.toSorted((a, b) => a - b)[Math.floor(0.99 * count)] ?? Number.NaN
        return {
          p99: { value: p99, unit: "ms", ...counted },
          saturated: { value: most, unit: "event/s", ...counted }
        }
      })
    }).pipe(Effect.scoped, Effect.provide(Journal.layerSqlite({ file })), Effect.runPromise)
  )
