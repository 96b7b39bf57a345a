/**
 * Finds a lost update in twenty lines of plain Effect code that runs well every time otherwise.
 *
 * Two fibers deposit into one account: each reads the balance, writes a line to the log and stores
 * the new balance. Effect's scheduler always runs them one after the other, so no test sees it; a
 * simulation tries other orders, and its seed repeats the one that fails.
 *
 * Run it with `node examples/find-a-lost-update.ts`.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import { Printout, Sim } from "../src/testing/index.ts"

const deposit = Effect.fn("deposit")(function* (account: Ref.Ref<number>, amount: number) {
  const balance = yield* Ref.get(account)
  yield* Effect.log(`reads ${balance}, adds ${amount}`)
  yield* Ref.set(account, balance + amount)
  yield* Effect.log(`stores ${balance + amount}`)
})

export const program = Effect.gen(function* () {
  const account = yield* Ref.make(0)
  yield* Effect.all([deposit(account, 30), deposit(account, 12)], { concurrency: "unbounded" })
  const balance = yield* Ref.get(account)
  if (balance !== 42) return yield* Effect.die(new Error(`paid in 42, the balance is ${balance}`))
})

const silent = Effect.provideService(References.MinimumLogLevel, "None")

export const search = Effect.gen(function* () {
  for (let run = 0; run < 1000; run++) yield* silent(program)
  yield* Console.log("Effect's own scheduler: 1000 runs, no update lost\n")
  const report = yield* Sim.explore(program, { seeds: 1000 })
  if (report.failure === undefined) return yield* Console.log("the simulation found nothing")
  yield* Console.log(Printout.failure(report.failure, report))
})

if (import.meta.main) await Effect.runPromise(search)
