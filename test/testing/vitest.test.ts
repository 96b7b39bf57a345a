/**
 * Goal: `it.sim` passes and fails as it should, and the line that it prints repeats a failure.
 * Method: vitest runs fixtures in a process of its own; its output and exit code are judged.
 */
import { execFile } from "node:child_process"
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Sim } from "../../src/testing/index.ts"
import { shares } from "../../src/testing/internal/sim/shares.ts"
import { namePattern } from "../../src/testing/internal/sim/testNames.ts"
import { inheritedFlags } from "../../src/testing/internal/sim/vitestShares.ts"
import { check } from "../../src/testing/vitest.ts"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"

const root = fileURLToPath(new URL("../../", import.meta.url))
const config = "test/fixtures/simulations.config.ts"
/** Most tests start a Vitest, some several, which takes long on a busy machine. */
const timeout = 180_000
const saved = () => globSync("test/fixtures/*.sim.json", { cwd: root }).map((file) => root + file)

/** No setting of the surrounding run reaches the fixtures. */
const clean = {
  NO_COLOR: "1",
  SIM_SEED: "",
  SIM_RUNS: "",
  SIM_TIME_LIMIT: "",
  SIM_SAVE: "",
  SIM_TRACE: "",
  SIM_WORKERS: ""
}

interface Ended {
  readonly code: number
  readonly output: string
}

const vitest = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.callback<Ended>((resume) => {
    const command = ["node_modules/vitest/vitest.mjs", "run", "--config", config, ...args]
    const options = { cwd: root, env: { ...process.env, ...clean, ...env } }
    const child = execFile(process.execPath, command, options, (error, stdout, stderr) =>
      resume(Effect.succeed({ code: Number(error?.code ?? 0), output: stdout + stderr }))
    )
    return Effect.sync(() => child.kill())
  })

/** Waits until a condition holds; the test's own timeout is its bound. */
const until = (holds: () => boolean) =>
  Effect.repeat(Effect.sync(holds), { schedule: Schedule.spaced(50), until: (held) => held })

const numbers = (line: string): ReadonlyArray<number> => line.split(" ").map(Number)

/** Whether a process lives. One that has ended may be listed until its parent has seen that. */
const isRunning = (id: number): boolean => {
  try {
    process.kill(id, 0)
    return process.platform !== "linux" || !/\) Z /.test(readFileSync(`/proc/${id}/stat`, "utf8"))
  } catch {
    return false
  }
}

afterAll(() => {
  for (const file of saved()) rmSync(file)
})

describe("it.sim", { timeout }, () => {
  it.live("prints a failing run whole, with one line that repeats it", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "loses an update"])
      assert.strictEqual(code, 1)
      assert.match(output, /an update was lost/)
      assert.match(output, /seed 0x[0-9a-f]+, run \d+: \d+ steps, 0 ms of virtual time/)
      assert.match(output, /1 preemption of \d+/)
      assert.match(output, /ms +step +fiber +place +what happens/)
      assert.match(output, /#\d +simulations\.ts:\d+ +reads 0/)
      const line = /SIM_SEED=(\S+) npx vitest run (\S+) -t "(.*)"/.exec(output)
      assert.isNotNull(line)
      const [, seed = "", file, name = ""] = line
      assert.strictEqual(file, "test/fixtures/simulations.ts")
      const pattern = new RegExp(name.replaceAll("\\\\", "\\").replaceAll("\\$", "$"))
      assert.match("fixture > loses an update (sometimes)", pattern)
      assert.match("fixture loses an update (sometimes)", pattern)
      const again = yield* vitest(["-t", pattern.source], { SIM_SEED: seed })
      assert.strictEqual(again.code, 1)
      const runOf = (text: string) => /ms +step[^]*?repeat it/.exec(text)?.[0]
      assert.strictEqual(runOf(again.output), runOf(output))
      assert.match(again.output, new RegExp(`seed ${seed.split("@")[0]}, run 1:`))
    })
  )

  it.live("passes a test whose every run passes; SIM_RUNS says how many", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "passes"], { SIM_RUNS: "5" })
      assert.strictEqual(code, 0, output)
    })
  )

  it.live("fails when a mark was never true, and names it", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "never reaches"])
      assert.strictEqual(code, 1)
      assert.match(output, /never true in 30 runs: "the rare case"/)
    })
  )

  it.live("saves the shrunk run beside the test, and replays it from there", () =>
    Effect.gen(function* () {
      const first = yield* vitest(["-t", "stands no crash"], { SIM_SAVE: "1" })
      assert.strictEqual(first.code, 1)
      const [file] = saved()
      assert.isDefined(file)
      const { plan, schedule, test } = JSON.parse(readFileSync(file, "utf8"))
      assert.isArray(schedule)
      assert.strictEqual(test, "stands no crash")
      assert.strictEqual(plan.length, 1)
      assert.strictEqual(plan[0]._tag, "Crash")
      const again = yield* vitest(["-t", "stands no crash"], { FIXTURE_REPLAY: file })
      assert.strictEqual(again.code, 1)
      assert.match(again.output, /run 1: [^]*the work was done twice|the work was done twice/)
      assert.match(again.output, /crash worker/)
    })
  )
})

describe("the time of a test", { timeout }, () => {
  it.live("F6: saves tests of one name in files of their own, by group and in any script", () =>
    Effect.gen(function* () {
      const before = saved()
      const { output } = yield* vitest(["-t", "fixture of groups"], { SIM_SAVE: "1" })
      assert.strictEqual(saved().length - before.length, 4, output)
    })
  )

  it.live("3: is not cut by vitest while its budget lasts", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "^fixture > takes its time$"])
      assert.strictEqual(code, 0, output)
    })
  )

  it.live("3: ends, with a report, if the program never does", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "never ends|waits for ever"])
      assert.strictEqual(code, 1)
      assert.match(output, /the program was not done at maxSteps \(step 1000,[^]*repeat it:/)
      assert.match(output, /deadlock at step \d+ [^]*repeat it:/)
      assert.notMatch(output, /timed out/)
    })
  )

  it.live("3: ends with a word if promises follow each other without an end", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "loops in promises"])
      assert.strictEqual(code, 1)
      assert.match(output, /seed 0x2a, step \d+: promises or microtasks .* 1000 ms \(maxRealTime\)/)
    })
  )

  it.live("reports a failing seed although the time of the test is over", () =>
    Effect.gen(function* () {
      for (const env of [{}, { SIM_WORKERS: "2", SIM_RUNS: "100" }]) {
        const { code, output } = yield* vitest(["-t", "has little time"], env)
        assert.strictEqual(code, 1)
        assert.match(
          output,
          /it fails in time[^]*shrinking ended at its limit timeout[^]*repeat it:/
        )
        assert.notMatch(output, /timed out/)
      }
    })
  )

  it.effect("fails without a failing seed, and says how many there were time for", () =>
    Effect.gen(function* () {
      const test = { name: "x", file: "test/x.test.ts" }
      const maxRealTime = "1 minute"
      const settings = { seeds: 1e9, timeout: 20, maxRealTime } as const
      const { message } = yield* Effect.flip(check(test, settings, Effect.void, {}))
      assert.match(message, /timed out after 20ms: \d+ of 1000000000 seeds were run/)
      const enough = yield* check(test, { seeds: 1, timeout: 1, maxRealTime }, Effect.void, {})
      assert.strictEqual(enough.runs, 1)
      const planned = yield* check(test, { ...settings, budget: 1, timeout: 1e9 }, Effect.void, {})
      assert.isBelow(planned.runs, 1e9)
    })
  )

  it.effect("ends a run that never does with its report", () =>
    Effect.gen(function* () {
      const test = { name: "x", file: "test/x.test.ts" }
      const settings = { seeds: 3, timeout: 50, maxSteps: Infinity, ambient: "allow" } as const
      const { message } = yield* Effect.flip(
        check(test, settings, Effect.forever(Effect.yieldNow), {})
      )
      assert.match(message, /not done at maxRealTime[^]*repeat it:/)
    })
  )

  it.live("12: the line that repeats a test runs no other test that contains its name", () =>
    Effect.gen(function* () {
      const pattern = namePattern({ name: "takes its time", file: "", groups: ["fixture"] })
      const { code, output } = yield* vitest(["-t", pattern], { SIM_SEED: "1" })
      assert.strictEqual(code, 0, output)
    })
  )
})

describe("SIM_WORKERS", { timeout }, () => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-workers-"))
  afterAll(() => rmSync(folder, { recursive: true }))

  it.live("S8: shares the seeds among as many processes, each once", () =>
    Effect.gen(function* () {
      const list = join(folder, "processes")
      const env = { SIM_WORKERS: "3", SIM_RUNS: "300", FIXTURE_PROCESSES: list }
      const { code, output } = yield* vitest(["-t", "never reaches"], env)
      assert.strictEqual(code, 1)
      assert.match(output, /never true in 300 runs: "the rare case"/)
      assert.strictEqual(new Set(readFileSync(list, "utf8").trim().split("\n")).size, 4)
    })
  )

  it.live("S8: a killed Vitest leaves neither processes nor files of the shares", () =>
    Effect.gen(function* () {
      const list = join(folder, "killed")
      const temporary = join(folder, "temporary")
      mkdirSync(temporary)
      const processes = (): ReadonlyArray<ReadonlyArray<number>> =>
        existsSync(list) ? readFileSync(list, "utf8").trim().split("\n").map(numbers) : []
      const shared = { SIM_WORKERS: "2", SIM_TIME_LIMIT: "3600" }
      const env = { ...shared, FIXTURE_PROCESSES: list, TMPDIR: temporary, TEMP: temporary }
      const running = yield* Effect.forkChild(vitest(["-t", "^fixture > takes its time$"], env))
      yield* until(() => processes().length === 3)
      // The first to read the file is a worker of the Vitest that this test has started.
      const [[asking = 0, main = 0] = [], ...sharing] = processes()
      assert.isTrue([asking, main, ...sharing.flat()].every(isRunning))
      process.kill(main, "SIGKILL")
      yield* until(() => !sharing.flat().some(isRunning))
      yield* Fiber.interrupt(running)
      const left = readdirSync(temporary).filter((name) => name.startsWith("handfast"))
      assert.deepStrictEqual(left, [])
    })
  )

  it.live("S8: finds the same first failing seed, and shows the same of it", () =>
    Effect.gen(function* () {
      const [alone, shared] = [
        yield* vitest(["-t", "loses an update"]),
        yield* vitest(["-t", "loses an update"], { SIM_WORKERS: "2" })
      ]
      const shown = (text: string) => /seed 0x[^]*SIM_SEED.*/.exec(text)?.[0]
      assert.isDefined(shown(alone.output))
      assert.strictEqual(shown(shared.output), shown(alone.output))
    })
  )

  it.live("F5: an error beside the seeds fails the test as in one process", () =>
    Effect.gen(function* () {
      for (const env of [{}, { SIM_WORKERS: "2" }]) {
        const { code, output } = yield* vitest(["-t", "leaves something behind"], env)
        assert.strictEqual(code, 1, output)
        assert.match(output, /the hook has found something/)
      }
    })
  )

  it.live("13: two tests of one name are refused, since each would get the other's result", () =>
    Effect.gen(function* () {
      const { code, output } = yield* vitest(["-t", "is named twice"], { SIM_WORKERS: "2" })
      assert.strictEqual(code, 1, output)
      assert.match(output, /two tests are named "fixture of one name is named twice"/)
      assert.match(output, /2 failed/)
    })
  )

  it.live("S8: a process without a result is named with its seeds and its output", () =>
    Effect.gen(function* () {
      const test = { name: "no such test", file: "test/fixtures/simulations.ts" }
      const run = check(test, { seeds: 200 }, Effect.void, { SIM_WORKERS: "2" })
      const error = yield* Effect.flip(run)
      assert.propertyVal(error, "_tag", "ShareFailed")
      assert.match(error.message, /the process for the seeds 1 to 100 failed:/)
      assert.match(error.message, /No test files/)
    })
  )

  it("S8: the shares hold each seed once, and begin where a compared seed is", () => {
    for (const [seeds, processes] of [
      [300, 3],
      [101, 7],
      [1000, 1],
      [99, 4],
      [1e9, 6]
    ] as const) {
      const all = shares({ from: 5, seeds }, processes, 20)
      let next = 5
      for (const share of all) {
        assert.strictEqual(share.from, next)
        assert.strictEqual((share.from - 5) % 20, 0)
        next += share.seeds
      }
      assert.strictEqual(next, 5 + seeds)
      assert.isAtMost(all.length, seeds < 100 ? 1 : processes)
    }
    const [first] = shares({ from: 0, seeds: 300 }, 3, 20)
    assert.deepStrictEqual(first, { from: 0, seeds: 100 })
  })

  it("S8: another vitest gets the settings of this one that it needs", () => {
    const command = ["node", "vitest", "run", "-c", "a.ts", "--root=b", "--reporter", "dot", "x"]
    assert.deepStrictEqual(inheritedFlags(command), ["-c", "a.ts", "--root=b"])
  })
})

describe("the settings of a test", () => {
  const test = { name: "x", file: "test/x.test.ts" }

  it.effect("come from the environment, where it says something", () =>
    Effect.gen(function* () {
      const counted = yield* check(test, { seeds: 7 }, Effect.void, {})
      assert.strictEqual(counted.runs, 7)
      const runs = yield* check(test, { seeds: 7 }, Effect.void, { SIM_RUNS: "20" })
      assert.strictEqual(runs.runs, 20)
      const seed = yield* check(test, { seeds: 7 }, Effect.void, { SIM_SEED: "0x9f3a" })
      assert.strictEqual(seed.runs, 1)
      const limit = yield* check(test, { seeds: 1e9 }, Effect.void, { SIM_TIME_LIMIT: "0.05" })
      assert.isBelow(limit.runs, 1e9)
    })
  )

  const wrong: ReadonlyArray<readonly [name: string, values: ReadonlyArray<string>]> = [
    ["SIM_SEED", ["zz", "0x", "-1", "1.5", "0x1@zzz", "0x1@", "0x1@1@2", "99999999999999999999"]],
    ["SIM_RUNS", ["abc", "0", "-5", "2.5", "1e3", "Infinity"]],
    ["SIM_TIME_LIMIT", ["abc", "0", "-1", "0.0", "Infinity", "5s"]],
    ["SIM_WORKERS", ["abc", "0", "-1", "1.5"]],
    ["SIM_SAVE", ["yes"]],
    ["SIM_TRACE", ["1"]]
  ]
  for (const [name, values] of wrong) {
    it.effect(`1: ${name} is refused by its name when its value is wrong`, () =>
      Effect.gen(function* () {
        for (const value of values) {
          const error = yield* Effect.flip(
            check(test, { seeds: 2 }, Effect.void, { [name]: value })
          )
          assert.propertyVal(error, "_tag", "WrongValue")
          assert.include(error.message, `${name}=${value} is not usable. Allowed: `)
        }
      })
    )
  }

  it.effect("1: a set without a run, or of runs that cannot succeed, is refused", () =>
    Effect.gen(function* () {
      const refused: ReadonlyArray<Sim.Settings> = [
        { seeds: 0 },
        { seeds: NaN },
        { from: 0.5 },
        { checkShare: NaN },
        { maxTime: 0 },
        { maxTime: NaN },
        { maxRealTime: -1 },
        { timerSlack: -1 },
        { timerSlack: NaN },
        { budget: NaN },
        { budget: "-1 seconds" },
        // A program without types may say this.
        { ambient: "allowed" as "allow" }
      ]
      for (const settings of refused) {
        const exit = yield* Effect.exit(check(test, settings, Effect.void, {}))
        assert.strictEqual(exit._tag, "Failure", JSON.stringify(settings))
        assert.include(String(exit), "is not usable. Allowed: ")
      }
      const { runs } = yield* check(test, { budget: 0 }, Effect.void, {})
      assert.strictEqual(runs, 1)
    })
  )

  it.effect("S6: the line that repeats a run says when the program has changed since", () =>
    Effect.gen(function* () {
      const failing = (extra: boolean) =>
        Effect.gen(function* () {
          yield* Effect.sleep(1)
          if (extra) yield* Effect.sleep(1)
          return yield* Effect.fail("it fails")
        })
      const first = yield* Effect.flip(check(test, { seeds: 3 }, failing(false), {}))
      const [, line = ""] = /SIM_SEED=(\S+)/.exec(first.message) ?? []
      assert.match(line, /^0x1@[0-9a-f]+$/)
      const again = (extra: boolean) =>
        Effect.flip(check(test, { seeds: 3 }, failing(extra), { SIM_SEED: line }))
      assert.notMatch((yield* again(false)).message, /has changed/)
      const note = /note: the program has changed since this line was printed/
      assert.match((yield* again(true)).message, note)
    })
  )

  it.effect("SIM_TRACE=full prints every line", () =>
    Effect.gen(function* () {
      const steps = Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        (i) => Sim.note(`step number ${"x".repeat(i)}`)
      )
      const program = Effect.andThen(steps, Effect.fail("it fails"))
      const short = yield* Effect.flip(check(test, { seeds: 1 }, program, {}))
      const full = yield* Effect.flip(check(test, { seeds: 1 }, program, { SIM_TRACE: "full" }))
      assert.isBelow(short.message.split("\n").length, 50)
      assert.strictEqual(full.message.match(/step number/g)?.length, 100)
    })
  )

  it.effect("a saved run that is none is a typed error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(check(test, { replay: import.meta.filename }, Effect.void))
      assert.propertyVal(error, "_tag", "SavedRunUnusable")
    })
  )
})
