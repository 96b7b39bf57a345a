/**
 * Goal: the default settings find the concurrency bugs that programs have, soon, and only those.
 * Method: small programs with one bug each, and the twin of each without it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Sim } from "../../src/testing/index.ts"
import { doubleCharge } from "../fixtures/bugs/doubleCharge.ts"
import { doubleRelease } from "../fixtures/bugs/doubleRelease.ts"
import { dualWrite } from "../fixtures/bugs/dualWrite.ts"
import { fiveMillisApart, sideBySide } from "../fixtures/bugs/lostUpdate.ts"
import { staleCache } from "../fixtures/bugs/staleCache.ts"

type Program = Effect.Effect<void, unknown, Scope.Scope>

/** Processor time, which other work of the machine does not lengthen. */
const MAX_SECONDS = 2

const explore = Effect.fnUntraced(function* (program: Program) {
  const before = process.cpuUsage()
  const report = yield* Sim.explore(program, { seeds: 200 })
  const { system, user } = process.cpuUsage(before)
  assert.isBelow((system + user) / 1e6, MAX_SECONDS)
  return report
})

describe("S1: within 200 seeds and two seconds the simulation finds", () => {
  const finds = (
    name: string,
    twins: { readonly broken: Program; readonly repaired: Program },
    message: RegExp
  ) => {
    it.live(name, () =>
      Effect.gen(function* () {
        const { deterministic, failure } = yield* explore(twins.broken)
        assert.match(failure?.message ?? "200 seeds found nothing", message)
        assert.isTrue(deterministic)
      })
    )
    it.live(`${name}, and nothing once it is repaired`, () =>
      Effect.gen(function* () {
        const report = yield* explore(twins.repaired)
        assert.strictEqual(report.failure?.message, undefined)
        assert.strictEqual(report.runs, 200)
      })
    )
  }

  finds("a lost update side by side", sideBySide, /paid in 20, the balance is 10/)
  finds("a lost update 5 ms apart", fiveMillisApart, /paid in 20, the balance is 10/)
  finds("a permit that is released twice on interruption", doubleRelease, /3 of 2 connections/)
  finds("a stale write to a cache after its invalidation", staleCache, /the cache says 1/)
  finds("a double charge after a timeout", doubleCharge, /charged for book,book/)
  finds("a dual write that a crash cuts in two", dualWrite, /no mail for order/)
})
