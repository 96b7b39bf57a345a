/**
 * Goal: nothing that the seed does not own goes unnoticed.
 * Method: programs that use real clocks, random numbers, timers and I/O directly, under each value
 * of the setting; their twins outside of a run.
 */
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { connect } from "node:net"
import sqlite, { DatabaseSync } from "node:sqlite"
import { scheduler, setTimeout as pause } from "node:timers/promises"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Hash from "effect/Hash"
import type * as Scope from "effect/Scope"
import { Sim, SimError } from "../../src/testing/index.ts"

type Program = Effect.Effect<unknown, unknown, Scope.Scope>

const errorOf = Effect.fnUntraced(function* (program: Program, settings: Sim.Settings = {}) {
  const report = yield* Sim.explore(program, { seeds: 1, shrinkAttempts: 0, ...settings })
  return report.failure === undefined ? undefined : Cause.squash(report.failure.cause)
})

const values: ReadonlyArray<readonly [call: string, use: () => unknown]> = [
  ["Date.now", () => Date.now()],
  ["Date.now", () => new Date()],
  ["Date.now", () => Date()],
  ["performance.now", () => performance.now()],
  ["process.hrtime.bigint", () => process.hrtime.bigint()],
  ["Math.random", () => Math.random()],
  ["crypto.randomUUID", () => crypto.randomUUID()],
  ["crypto.getRandomValues", () => crypto.getRandomValues(new Uint8Array(4))]
]

/** Those that no stand-in answers. */
const others: ReadonlyArray<readonly [call: string, use: () => unknown]> = [
  ["performance.mark", () => performance.mark("here")],
  ["performance.measure", () => performance.measure("so long")],
  ["process.uptime", () => process.uptime()],
  ["AbortSignal.timeout", () => AbortSignal.timeout(1)],
  ["timers/promises.scheduler.wait", () => scheduler.wait(1)],
  ["timers/promises.setTimeout", () => promisify(setTimeout)(1)],
  ["timers/promises.setImmediate", () => promisify(setImmediate)()]
]

const timers: ReadonlyArray<readonly [call: string, use: () => unknown]> = [
  ["setTimeout", () => setTimeout(() => undefined, 1)],
  ["setImmediate", () => setImmediate(() => undefined)],
  ["setInterval", () => setInterval(() => undefined, 1)]
]

const opened = new DatabaseSync(":memory:")
const prepared = opened.prepare("SELECT 1")

const inputOutput: ReadonlyArray<readonly [call: string, use: () => unknown]> = [
  ["crypto.randomBytes", () => randomBytes(4)],
  ["timers/promises.setTimeout", () => pause(1)],
  ["net.Socket.connect", () => connect(9, "127.0.0.1")],
  ["sqlite.DatabaseSync", () => new sqlite.DatabaseSync(":memory:")],
  ["sqlite.DatabaseSync", () => new (class extends sqlite.DatabaseSync {})(":memory:")],
  ["sqlite.DatabaseSync.close", () => new DatabaseSync(":memory:").close()],
  ["sqlite.DatabaseSync.location", () => new DatabaseSync(":memory:").location()],
  ["sqlite.DatabaseSync.exec", () => opened.exec("SELECT 1")],
  ["sqlite.backup", () => sqlite.backup(opened, "copy")],
  ["sqlite.StatementSync.get", () => prepared.get()],
  ["fetch", () => fetch("http://127.0.0.1:9")],
  ["fs.readFileSync", () => readFileSync(import.meta.filename)],
  ["fs.promises.readFile", () => readFile(import.meta.filename)]
]

describe("a program that goes past the simulation", () => {
  for (const [call, use] of [...values, ...others, ...timers, ...inputOutput]) {
    it.live(`S2, 16: is refused, and told where it called ${call}: ${use}`, () =>
      Effect.gen(function* () {
        // The timeout would answer otherwise, and hide the cause.
        const program = Effect.timeout(
          Effect.promise(async () => void (await use())),
          "1 second"
        )
        const error = yield* errorOf(Effect.ignore(program))
        assert.instanceOf(error, SimError.NotSimulated)
        assert.strictEqual(error.call, call)
        assert.match(error.message, /ambient\.test\.ts:\d+/)
        assert.match(error.message, /`ambient`/)
      })
    )
  }

  it.live("S2: is refused behind a promise too, and however it handles the error", () =>
    Effect.gen(function* () {
      const late = async () => {
        await Promise.resolve()
        await Promise.resolve()
        return Date.now()
      }
      assert.instanceOf(yield* errorOf(Effect.promise(late)), SimError.NotSimulated)
      const caught = Effect.ignoreCause(Effect.sync(() => Math.random()))
      assert.instanceOf(yield* errorOf(Effect.andThen(caught, Effect.void)), SimError.NotSimulated)
    })
  )

  it.live("S2: is refused the fibers that it runs on Effect's own scheduler", () =>
    Effect.gen(function* () {
      const stray = Effect.sync(() => Effect.runFork(Effect.sleep(1)))
      const error = yield* errorOf(Effect.andThen(stray, Effect.sleep(1)))
      assert.instanceOf(error, SimError.NotSimulated)
      assert.match(error.message, /no Effect\.run\*/)
    })
  )

  it.live("S2: is let through if the test says so", () =>
    Effect.gen(function* () {
      const program = Effect.sync(() => void [Date.now(), Math.random(), setImmediate(() => {})])
      assert.isUndefined(yield* errorOf(program, { ambient: "allow" }))
    })
  )
})

describe("simulated clocks, random numbers and timers", () => {
  const simulated = (use: () => unknown, seed: number) =>
    Effect.gen(function* () {
      const program = Effect.andThen(Effect.sleep(50), Effect.sync(use))
      const run = yield* Sim.run(program, { seed, ambient: "simulate", timerSlack: 0 })
      if (run.exit._tag === "Failure") return assert.fail(Cause.pretty(run.exit.cause))
      return run.exit.value
    })

  it.live("S2: answer from the seed and the virtual time", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* simulated(() => Date.now(), 1), 50)
      assert.strictEqual(yield* simulated(() => new Date().getTime(), 1), 50)
      assert.strictEqual(yield* simulated(() => performance.now(), 1), 50)
      const draws: ReadonlyArray<() => unknown> = [
        () => Math.random(),
        () => crypto.randomUUID(),
        () => crypto.getRandomValues(new Uint32Array(4)).join()
      ]
      for (const draw of draws) {
        assert.strictEqual(yield* simulated(draw, 7), yield* simulated(draw, 7))
        assert.notStrictEqual(yield* simulated(draw, 7), yield* simulated(draw, 8))
      }
    })
  )

  it.live("S2: fire in virtual time, and can be cleared", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const program = Effect.gen(function* () {
        yield* Effect.sync(() => {
          const say = (what: string) => log.push(`${what} ${Date.now()}`)
          setTimeout(say, 3_600_000, "an hour")
          setImmediate(say, "at once")
          clearTimeout(setTimeout(say, 10, "cleared"))
          const ticks = setInterval(say, 20, "tick")
          setTimeout(() => clearInterval(ticks), 50)
        })
        yield* Effect.sleep("2 hours")
      })
      yield* Sim.run(program, { seed: 1, ambient: "simulate", timerSlack: 0 })
      assert.deepStrictEqual(log, ["at once 0", "tick 20", "tick 40", "an hour 3600000"])
    })
  )

  /** Writes a record, pauses and goes on: an async function that a timer calls. */
  const writeOn = (disk: Array<number>) =>
    Effect.callback<void>((resume) => {
      setTimeout(async () => {
        for (let record = 0; record < 5; record++) {
          await new Promise((resolve) => setTimeout(resolve, 10))
          disk.push(Date.now())
        }
        resume(Effect.void)
      }, 0)
    })

  for (const stop of ["crash", "pause"] as const) {
    it.live(`F7: fire no more in an async function of a process after its ${stop}`, () =>
      Effect.gen(function* () {
        const program = Effect.gen(function* () {
          const disk: Array<number> = []
          const writer = yield* Sim.process("writer", writeOn(disk))
          yield* Effect.sleep("15 millis")
          yield* writer[stop]
          yield* Effect.sleep("1 second")
          return disk.length
        })
        const { exit } = yield* Sim.run(program, { seed: 1, ambient: "simulate", timerSlack: 0 })
        assert.deepStrictEqual(exit, Exit.succeed(1))
      })
    )
  }

  it.live("F7: tell an async function the time of its process throughout", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const disk: Array<number> = []
        const writer = yield* Sim.process("writer", writeOn(disk))
        yield* writer.skew({ jump: "1 hour" })
        yield* Effect.sleep("1 second")
        return disk
      })
      const { exit } = yield* Sim.run(program, { seed: 1, ambient: "simulate", timerSlack: 0 })
      const hour = 3_600_000
      assert.deepStrictEqual(
        exit,
        Exit.succeed([11, 21, 31, 41, 51].map((millis) => hour + millis))
      )
    })
  )

  it.live("S2: are no stand-ins for I/O, which stays refused", () =>
    Effect.gen(function* () {
      for (const [call, use] of inputOutput) {
        const error = yield* errorOf(
          Effect.promise(async () => void (await use())),
          {
            ambient: "simulate"
          }
        )
        assert.propertyVal(error, "call", call)
      }
    })
  )
})

describe("the traps", () => {
  it.live("C26: end the run, not Node, in a callback that catches nothing", () =>
    Effect.gen(function* () {
      const later = [
        (act: () => void) => process.nextTick(act),
        (act: () => void) => queueMicrotask(act),
        (act: () => void) => void Promise.resolve().then(act)
      ]
      for (const schedule of later) {
        const program = Effect.callback<void>((resume) =>
          schedule(() => {
            Date.now()
            resume(Effect.void)
          })
        )
        assert.instanceOf(yield* errorOf(program), SimError.NotSimulated)
      }
    })
  )

  it.live("S2: let Effect number its spans and hash its keys", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const span = yield* Effect.withSpan(Effect.currentSpan, "work")
        return [span.spanId, Hash.random({}), DateTime.toEpochMillis(DateTime.nowUnsafe())]
      })
      const [first, second] = [
        yield* Sim.run(program, { seed: 3 }),
        yield* Sim.run(program, { seed: 3 })
      ]
      assert.strictEqual(first.exit._tag, "Success")
      assert.deepStrictEqual(second.exit, first.exit)
    })
  )

  it.live("S2: let through what belongs to no run, during one and after it", () =>
    Effect.gen(function* () {
      const before = Date.now()
      let seen = 0
      // The outer program's own promise runs between the turns of the simulated one.
      const outside = (async () => {
        for (let i = 0; i < 20; i++) {
          await Promise.resolve()
          seen = Date.now()
        }
      })()
      const program = Effect.promise(async () => {
        for (let i = 0; i < 10; i++) await Promise.resolve()
      })
      assert.isUndefined(yield* errorOf(program))
      yield* Effect.promise(() => outside)
      assert.isAtLeast(seen, before)
      assert.instanceOf(new Date(), Date)
      assert.strictEqual(new Date(0).constructor, Date)
      assert.isAtLeast(new Date().getTime(), before)
      assert.isAbove(readFileSync(import.meta.filename).length, 0)
    })
  )

  it.live("S2: let through what a run has left behind", () =>
    Effect.gen(function* () {
      let late = Promise.resolve(0)
      const slow = async () => {
        for (let i = 0; i < 1_000; i++) await Promise.resolve()
        return Date.now()
      }
      yield* Sim.run(
        Effect.sync(() => void (late = slow())),
        { seed: 1 }
      )
      assert.isAbove(yield* Effect.promise(() => late), 0)
    })
  )
})
