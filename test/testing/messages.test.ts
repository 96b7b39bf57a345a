/**
 * Goal: every error of the simulation has a message, whatever the failure is that it holds.
 * Method: failures that `String` and `JSON` cannot show are taken through each message and report.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import {
  type FaultPlan,
  FaultyJournal,
  Linearizability,
  Printout,
  SavedRun,
  Sim,
  SimError
} from "../../src/testing/index.ts"

const cyclic: Record<string, unknown> = { _tag: "Cyclic" }
cyclic["self"] = cyclic
const refuses = () => {
  throw new Error("a trap")
}
const proxy = new Proxy(
  {},
  { get: refuses, has: refuses, getPrototypeOf: refuses, ownKeys: refuses }
)
/** An error as a test runner copies it: without a prototype. */
const copied = Object.assign(Object.create(null), { name: "Error", message: "no such file" })

const failures: ReadonlyArray<readonly [what: string, failure: unknown, shown: RegExp]> = [
  ["an object", { _tag: "Boom", at: 3 }, /\{ _tag: 'Boom', at: 3 \}/],
  ["a cyclic object", cyclic, /\{ _tag: 'Cyclic', self: \[Circular \*1\] \}/],
  ["a proxy that throws", proxy, /\{\}/],
  ["an object without a prototype", Object.create(null), /\[Object: null prototype\] \{\}/],
  ["an error without a prototype", copied, /no such file/],
  ["an error without a message", new TypeError(), /TypeError/],
  ["a symbol", Symbol("why"), /Symbol\(why\)/],
  ["a bigint", 3n, /3n?/]
]

describe("a message", () => {
  for (const [what, failure, shown] of failures) {
    it(`8: of an error that holds ${what} says what it is`, () => {
      const errors = [
        new SimError.ProcessFailed({ process: "p", cause: failure }),
        new SimError.TaskThrew({ process: "p", step: 1, cause: failure }),
        new SavedRun.SavedRunUnusable({ file: "f", cause: failure })
      ]
      for (const error of errors) assert.match(error.message, shown)
    })

    it.effect(`8: of a run that fails with ${what} says what it is`, () =>
      Effect.gen(function* () {
        const process = Effect.andThen(Sim.process("p", Effect.fail(failure)), Effect.never)
        const invariant = Sim.invariant("i", () => {
          throw failure
        })
        const broken = Effect.andThen(invariant, Effect.sleep(1))
        for (const program of [Effect.fail(failure), process, broken]) {
          const report = yield* Sim.explore(program, { seeds: 1 })
          assert.isDefined(report.failure)
          assert.isTrue(report.deterministic)
          assert.match(report.failure.message, shown)
          const printed = Printout.failure(report.failure, report)
          assert.match(printed.replaceAll(/\s+/g, " "), shown)
        }
      })
    )

    it(`8: of a history that holds ${what} is made`, () => {
      const operation = { client: "a", input: "read", called: 0 }
      const history = [{ ...operation, answer: { output: failure, returned: 1 } }]
      const spec = { initial: 0, apply: () => [0, "nothing"] as const }
      const text = Linearizability.explain(Linearizability.check(spec, history))
      assert.match(text, /a: "read" -> ./)
    })
  }

  it.effect("12: of a saved run that is not there names the whole path", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(SavedRun.load("nowhere/x.sim.json"))
      assert.include(error.message, `${process.cwd()}/nowhere/x.sim.json is not usable`)
      assert.include(error.message, "ENOENT")
    })
  )
})

describe("faults that never struck", () => {
  it("12: are listed, each with what keeps it from striking", () => {
    const faults = ["journal append", "crash of server"]
    const { message } = new SimError.FaultsMissed({ faults, runs: 100 })
    assert.match(
      message,
      /^never struck in 100 runs: .*\n {2}journal append: is the journal a Fault/
    )
    assert.match(message, /\n {2}crash of server: does the process still run by then\?$/)
  })
})

describe("a report of a run that did not get small", () => {
  const yields = Effect.forEach(Array.from({ length: 100 }), () => Effect.yieldNow)

  /** A fault at its beginning, hundreds of preemptions after it. */
  const large = Effect.gen(function* () {
    const store = FaultyJournal.make(yield* Journal)
    yield* Effect.ignore(store.claim("a"))
    for (let i = 0; i < 20; i++) yield* Effect.ignore(store.read("a").pipe(Stream.runDrain))
    yield* Effect.all([yields, yields, yields, yields], { concurrency: "unbounded" })
    return yield* Effect.fail("it fails")
  }).pipe(Effect.provide(Journal.layerMemory))

  const plan: FaultPlan.FaultPlan = Array.from({ length: 12 }, (_, index) => ({
    _tag: "Journal",
    operation: "claim",
    nth: index + 1,
    kind: "failed-after-write",
    millis: 0
  }))

  const printed = Effect.gen(function* () {
    const report = yield* Sim.explore(large, { seeds: 1, plan, shrinkAttempts: 1 })
    assert.isDefined(report.failure)
    assert.isAbove(report.failure.preemptions.length, 50)
    return Printout.failure(report.failure, report, "SIM_SEED=0x1 npx vitest run a.test.ts")
  })

  it.effect("7: fits one screen: lists are capped, and equal preemptions are one line", () =>
    Effect.gen(function* () {
      const text = yield* printed
      const lines = text.split("\n")
      assert.isAtMost(lines.length, 50)
      for (const line of lines) assert.isAtMost(line.length, 100)
      assert.match(text, /\.\.\. 8 faults more/)
      assert.match(text, /is held \d+ times before this/)
      assert.notMatch(text, /1073741|536870/)
    })
  )

  it.effect("7: shows the fault in the trace and in the diagram, whole", () =>
    Effect.gen(function* () {
      const text = yield* printed
      const [, trace = "", picture = ""] = /(ms +step[^]*)```mermaid([^]*)```/.exec(text) ?? []
      assert.match(trace, /claim no.*\(failed-after-write\)\n/)
      assert.match(picture, /claim no\. 1 a \(failed-after-write\)/)
    })
  )

  it.effect("7: says in one line which limit ended the shrinking", () =>
    Effect.gen(function* () {
      assert.match(yield* printed, /\(shrinking ended at its limit shrinkAttempts: /)
      const report = yield* Sim.explore(Effect.fail("it fails"), { seeds: 1 })
      assert.notMatch(Printout.failure(report.failure!, report), /its limit/)
    })
  )

  it("7: of a long history keeps the operation that does not fit", () => {
    const operation = (value: number, called: number) => ({
      client: `client ${called}`,
      input: { op: "write" as const, value },
      called: 2 * called,
      answer: { output: undefined, returned: 2 * called + 1 }
    })
    const writes = Array.from({ length: 30 }, (_, index) => operation(index, index))
    const read = { op: "read" as const }
    const wrong = { client: "w", input: read, called: 90, answer: { output: 7, returned: 91 } }
    const verdict = Linearizability.check(Linearizability.register(0), [...writes, wrong])
    const [head, culprit, , latest] = Linearizability.explain(verdict).split("\n")
    assert.strictEqual(head, "not linearizable. None of these can come next:")
    assert.strictEqual(culprit, '  w: {"op":"read"} -> 7')
    assert.match(latest ?? "", /client 29: /)
  })
})

describe("a failing run that stays large", () => {
  /** Fails under every seed, in a long run or in a short one. */
  const program = Effect.gen(function* () {
    const value = yield* Random.nextIntBetween(0, 3)
    const yields = Effect.forEach(Array.from({ length: 30 }), () => Effect.yieldNow)
    if (value > 0) yield* Effect.all([yields, yields, yields], { concurrency: "unbounded" })
    return yield* Effect.fail("it fails")
  })

  it.effect("7: gives way to a smaller one among the next failing seeds", () =>
    Effect.gen(function* () {
      const settings = { seeds: 20, shrinkAttempts: 1 }
      const alone = yield* Sim.explore(program, { ...settings, shrinkSeeds: 0 })
      const { failure, ...report } = yield* Sim.explore(program, { ...settings, shrinkSeeds: 20 })
      assert.isDefined(alone.failure)
      assert.isDefined(failure)
      assert.strictEqual(alone.failure.seed, alone.firstFailingSeed)
      assert.isAbove(alone.failure.preemptions.length, 8)
      assert.isAtMost(failure.preemptions.length, 8)
      assert.strictEqual(report.firstFailingSeed, alone.firstFailingSeed)
      assert.strictEqual(report.runs, alone.runs)
      const text = Printout.failure(failure, { failure, ...report })
      assert.match(text, /seed 0x[0-9a-f]+, smaller than 0x1, which failed first: /)
    })
  )

  it.effect("7: is the smallest of those that were shrunk, though all of them are large", () =>
    Effect.gen(function* () {
      const yields = Effect.forEach(Array.from({ length: 30 }), () => Effect.yieldNow)
      const large = Effect.andThen(
        Effect.all([yields, yields, yields], { concurrency: "unbounded" }),
        Effect.fail("it fails")
      )
      const settings = { shrinkAttempts: 1, shrinkSeeds: 4 }
      const sizes: Array<number> = []
      for (const from of [1, 2, 3, 4, 5]) {
        const { failure } = yield* Sim.explore(large, { ...settings, from, seeds: 1 })
        sizes.push(failure!.preemptions.length)
      }
      assert.isAbove(sizes.at(-1)!, Math.min(...sizes), "the last one is not the smallest")
      assert.isAbove(Math.min(...sizes), 8)
      const { failure } = yield* Sim.explore(large, { ...settings, seeds: 5 })
      assert.strictEqual(failure!.preemptions.length, Math.min(...sizes))
    })
  )
})
