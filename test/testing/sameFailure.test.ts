/**
 * Goal: shrinking does not slip to a failure that differs in what tells failures apart.
 * Method: a deep failure and an easy one at the same place, under many seeds; the one that a seed
 * finds is the one that is shown.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { Sim } from "../../src/testing/index.ts"

describe("B11: the failure that is looked for", () => {
  const cases: ReadonlyArray<readonly [name: string, deep: unknown, easy: unknown]> = [
    ["message", new Error("status 500"), new Error("status 404")],
    ["text of a field", { kind: "deep", n: 1 }, { kind: "easy", n: 1 }],
    ["code", { code: 500 }, { code: 404 }]
  ]
  for (const [name, deep, easy] of cases) {
    it.live(`is told from another at the same place by its ${name}`, () =>
      Effect.gen(function* () {
        const program = Effect.gen(function* () {
          const ref = yield* Ref.make(0)
          const add = Effect.gen(function* () {
            const before = yield* Ref.get(ref)
            yield* Effect.yieldNow
            yield* Ref.set(ref, before + 1)
          })
          yield* Effect.all([add, add, add], { concurrency: "unbounded" })
          const total = yield* Ref.get(ref)
          if (total < 3) return yield* Effect.fail(total === 1 ? deep : easy)
        })
        for (let from = 1; from < 60; from++) {
          const settings = { seeds: 1, from, checkShare: 0 }
          const run = yield* Sim.run(program, { seed: from })
          if (run.exit._tag === "Success") continue
          const report = yield* Sim.explore(program, settings)
          assert.strictEqual(Cause.squash(report.failure!.cause), Cause.squash(run.exit.cause))
        }
      })
    )
  }
})
