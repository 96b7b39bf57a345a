/**
 * Goal: a simulation does not test nothing: names that mean nothing are refused, and faults that
 * never strike are reported.
 * Method: misspelt processes, kinds, options and settings; faults that find nothing to strike; the
 * twin of each.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { SimFabric } from "../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../src/native/verbs/Verbs.ts"
import { type FaultPlan, Faults, FaultyJournal, Sim, SimError } from "../../src/testing/index.ts"
import { check } from "../../src/testing/vitest.ts"

/** As JavaScript, or a variable of a wider type, would give it. */
const untyped = <A>(value: unknown) => value as A

const defectOf = Effect.fnUntraced(function* (
  program: Effect.Effect<unknown, unknown, Scope.Scope>
) {
  const { exit } = yield* Sim.run(program, { seed: 1 })
  const error = exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined
  assert.instanceOf(error, SimError.UnknownName)
  return error
})

const server = Sim.process("server", Effect.sleep("1 minute"))

const withServer = (options: unknown) =>
  Effect.andThen(server, Faults.random(untyped<Faults.Options>(options)))

describe("a name that means nothing", () => {
  it.effect("S3: is refused: a process, a kind of fault, an option", () =>
    Effect.gen(function* () {
      for (const options of [
        { crash: "sever" },
        { pause: ["server", "sever"] },
        { skew: "main" },
        { crsh: "server" },
        { journal: ["slwo"] },
        { fabric: { nodes: ["a"], kinds: ["Loos"] } }
      ]) {
        yield* defectOf(withServer(options))
      }
      const { message } = yield* defectOf(withServer({ crash: "sever" }))
      assert.strictEqual(message, 'there is no process to crash "sever". Known: server.')
      const crash = { _tag: "Crash", process: "sever", at: { step: 1 } } as const
      yield* defectOf(Effect.andThen(server, Faults.install([crash])))
      yield* defectOf(Sim.process("a", Effect.void, untyped({ onFailur: "stay-down" })))
      yield* defectOf(Sim.process("a", Effect.void, untyped({ onFailure: "stay-donw" })))
    })
  )

  it.effect("S3: is refused: a number or a time of faults that gives none", () =>
    Effect.gen(function* () {
      for (const options of [
        { most: NaN },
        { most: -1 },
        { within: NaN },
        { within: "-1 second" }
      ]) {
        const { exit } = yield* Sim.run(withServer({ crash: "server", ...options }), { seed: 1 })
        const error = exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(error, SimError.WrongValue)
      }
    })
  )

  it.effect("S3: is refused before any run: a setting", () =>
    Effect.gen(function* () {
      const settings = untyped<Sim.Settings>({ seds: 500 })
      const explored = yield* Effect.exit(Sim.explore(Effect.void, settings))
      const ran = yield* Effect.exit(Sim.run(Effect.void, { seed: 1, ...settings }))
      const test = { name: "x", file: "x" }
      const checked = yield* Effect.exit(check(test, settings, Effect.void, {}))
      for (const exit of [explored, ran, checked]) {
        assert.strictEqual(exit._tag, "Failure")
        if (exit._tag === "Failure") assert.match(String(exit.cause), /setting "seds"/)
      }
      const plain = { seeds: 1, timeout: 1000, replay: undefined }
      assert.strictEqual((yield* check(test, plain, Effect.void, {})).runs, 1)
    })
  )

  it.effect("S3: a process may be given by its handle", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const process = yield* server
        const plan = yield* Faults.random({ crash: process, pause: [process], most: 1 })
        for (const fault of plan) assert.propertyVal(fault, "process", "server")
        return plan.length
      })
      let drawn = 0
      for (let seed = 1; seed < 20; seed++) {
        const { exit } = yield* Sim.run(program, { seed })
        drawn += exit._tag === "Success" ? exit.value : 0
      }
      assert.isAbove(drawn, 0)
    })
  )
})

const tooLate: FaultPlan.FaultPlan = [
  { _tag: "Crash", process: "server", at: { millis: 100 } },
  { _tag: "Pause", process: "server", at: { step: 1_000 }, forMillis: 1 },
  { _tag: "Journal", operation: "append", nth: 1, kind: "slow", millis: 1 },
  { _tag: "Fabric", at: { millis: 0 }, fault: { _tag: "PortFlap", node: "b", forMillis: 1 } }
]

/** A process that lives for 50 ms beside a journal and a fabric, until 200 ms. */
const short = (plan: FaultPlan.FaultPlan) =>
  Effect.gen(function* () {
    const fabric = yield* SimFabric.make()
    yield* Effect.andThen(Verbs, Effect.void).pipe(
      Effect.provide(SimVerbs.layer(fabric, { host: "a" }))
    )
    yield* Sim.process("server", Effect.sleep(50))
    yield* Faults.install(plan)
    yield* Effect.flatMap(Journal, ({ claim }) => claim("x"))
    yield* Effect.sleep(200)
  }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))

describe("a fault that never strikes", () => {
  it.effect("S3: is reported, and fails a test", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(short(tooLate), { seeds: 12 })
      assert.isUndefined(report.failure)
      const sorts = ["crash of server", "pause of server", "journal", "fabric fault of b"]
      assert.sameMembers([...report.neverStruck], sorts)
      for (const sort of sorts)
        assert.deepStrictEqual(report.faults[sort], { planned: 12, struck: 0 })
      const test = { name: "x", file: "x" }
      const error = yield* Effect.flip(check(test, { seeds: 12 }, short(tooLate), {}))
      assert.match(String(error), /never struck in 12 runs: crash of server, pause of server/)
      // A few runs cannot be expected to strike.
      assert.strictEqual((yield* check(test, { seeds: 9 }, short(tooLate), {})).runs, 9)
    })
  )

  it.effect("S3: the twin that strikes in one run only passes", () =>
    Effect.gen(function* () {
      const inTime: FaultPlan.FaultPlan = [
        { _tag: "Pause", process: "server", at: { millis: 1 }, forMillis: 1 },
        { _tag: "Crash", process: "server", at: { millis: 10 } },
        { _tag: "Skew", process: "server", at: { millis: 5 }, jumpMillis: 1, rate: 1 },
        { _tag: "Journal", operation: "claim", nth: 1, kind: "slow", millis: 1 },
        { _tag: "Fabric", at: { millis: 0 }, fault: { _tag: "PortFlap", node: "a", forMillis: 1 } }
      ]
      let runs = 0
      const program = Effect.suspend(() => short(runs++ === 7 ? inTime : []))
      const report = yield* Sim.explore(program, { seeds: 12, checkShare: 0 })
      assert.deepStrictEqual(report.neverStruck, [])
      assert.strictEqual(Object.keys(report.faults).length, 5)
    })
  )
})
