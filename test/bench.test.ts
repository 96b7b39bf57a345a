/**
 * Goal: what the bench harness prints can be believed.
 * Method: it races a bench with known figures in real processes, and must report runs that lose
 * work, hang or throw, and average none of them. `benchStatistics.test.ts` has the intervals.
 */
import { spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync
} from "node:fs"
import { cpus, getPriority, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { race, raceBy, rate } from "../bench/harness.ts"
import { waitedAtMost } from "../bench/lanes/waits.ts"
import { jsonLines, keep, markdown, type Run, runOf, table } from "../bench/report.ts"
import { type Claim, judge, median } from "../bench/statistics.ts"
import broken from "./fixtures/broken.bench.ts"
import fake from "./fixtures/fake.bench.ts"

const fixture = (name: string) => new URL(`./fixtures/${name}.bench.ts`, import.meta.url).href

describe("the race", () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  it("runs a round in one order and in its reverse, in processes of usual priority", async () => {
    const directory = mkdtempSync(join(tmpdir(), "handfast-bench-"))
    const log = join(directory, "log")
    vi.stubEnv("FAKE_BENCH_LOG", log)
    const results = await race(fixture("fake"), { looks: [2] })
    const runs = readFileSync(log, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
    rmSync(directory, { recursive: true })

    assert.deepStrictEqual(
      runs.map(([contestant]) => contestant),
      ["slow", "quick", "quick", "slow", "quick", "slow", "slow", "quick"]
    )
    assert.strictEqual(new Set(runs.map(([, pid]) => pid)).size, runs.length)
    assert.deepStrictEqual(
      [...new Set(runs.map(([, , priority]) => priority))],
      [`${getPriority()}`]
    )
    assert.deepStrictEqual(results, {
      figures: [
        { name: "idle/quick", unit: "B", rounds: [100, 100] },
        { name: "tell/quick", unit: "msg/s", rounds: [30, 30] },
        { name: "tell/slow", unit: "msg/s", rounds: [10, 10] }
      ],
      failures: []
    })
  })

  it("takes the mean of a round's two runs", async () => {
    let value = 0
    const { figures } = await raceBy(
      { contestants: { a: () => ({}) } },
      () => Promise.resolve({ tell: { value: value++, unit: "", completed: 1, expected: 1 } }),
      { looks: [3] }
    )
    assert.deepStrictEqual(figures, [{ name: "tell/a", unit: "", rounds: [0.5, 2.5, 4.5] }])
  })

  const failing = async (how: string) => {
    vi.stubEnv("BROKEN_BENCH", how)
    const runs: Array<string> = []
    const watch = (_: number, contestant: string) => runs.push(contestant)
    const { failures, figures } = await race(fixture("broken"), { watch, looks: [2] })
    // It is not run again, none of its figures count, and the other one goes on.
    assert.deepStrictEqual(runs, ["sound", "broken", "sound", "sound", "sound"])
    assert.deepStrictEqual(
      figures.map(({ name, rounds }) => [name, rounds.length]),
      [["tell/sound", 2]]
    )
    assert.strictEqual(judge(figures, broken.claims[0]!).finding, "not measured")
    assert.deepStrictEqual(
      failures.map(({ contestant }) => contestant),
      ["broken"]
    )
    return failures[0]!.reason
  }

  it("reports a run that completed less than it was asked for", async () => {
    assert.include(await failing("loses"), "tell/broken completed 3 of 4")
  })

  it("stops a run that hangs, and names it", async () => {
    assert.include(await failing("hangs"), "broken was stopped after 5 s")
  })

  it("reports a run that throws, with what it printed", async () => {
    const reason = await failing("throws")
    assert.include(reason, "broken ended with 1")
    assert.include(reason, "Error: planted")
  })

  it("drops the earlier rounds of a contestant that fails later", async () => {
    let runs = 0
    const { failures, figures } = await raceBy(
      { contestants: { a: () => ({}) } },
      () => {
        if (++runs === 5) return Promise.reject(new Error("planted"))
        return Promise.resolve({ tell: { value: 1, unit: "", completed: 1, expected: 1 } })
      },
      { looks: [4] }
    )
    assert.deepStrictEqual(figures, [])
    assert.deepStrictEqual(failures, [{ contestant: "a", reason: "planted" }])
    assert.strictEqual(runs, 5)
  })

  it("refuses a claim about a figure that no contestant measures, after one round", async () => {
    let runs = 0
    const claims: ReadonlyArray<Claim> = [{ pair: ["tell/a", "ask/a"], bar: ">= 1" }]
    const refused = await raceBy({ contestants: { a: () => ({}) }, claims }, () => {
      runs++
      return Promise.resolve({ tell: { value: 1, unit: "", completed: 1, expected: 1 } })
    }).catch(String)
    assert.strictEqual(refused, "Error: no figure is named ask/a")
    assert.strictEqual(runs, 2)
  })
})

describe("figures", () => {
  it("median", () => {
    assert.strictEqual(median([5, 1, 3]), 3)
    assert.strictEqual(median([4, 1, 3, 2]), 2.5)
    assert.isNaN(median([]))
  })

  it("a long turn counts for as long as it lasted", () => {
    const even = Array.from({ length: 1_001 }, (_, i) => i)
    assert.approximately(waitedAtMost(even, 0, 1_000), 0.99, 0.02)
    // Half of a second in one turn: of what comes in that second, 1 % waits for 490 ms or more.
    const long = even.filter((at) => at <= 250 || at >= 750)
    assert.approximately(waitedAtMost(long, 0, 1_000), 490, 0.1)
    // A turn that began before what is looked at, and one that ended after it.
    assert.approximately(waitedAtMost([0, 100], 50, 100), 49.5, 0.1)
    assert.approximately(waitedAtMost([0, 100], 0, 50), 99.5, 0.1)
  })

  it("rate counts completions and warms up before", async () => {
    const asked: Array<number> = []
    const outcome = await rate({
      unit: "op/s",
      count: 20,
      run: (count) => {
        asked.push(count)
        return count
      }
    })
    assert.deepStrictEqual(asked, [2, 20])
    assert.deepStrictEqual([outcome.completed, outcome.expected], [20, 20])
    assert.isAbove(outcome.value, 0)
  })
})

describe("what is printed", () => {
  const figures = [
    { name: "tell/quick", unit: "msg/s", rounds: [30, 31, 32, 33, 34, 35, 31234.5] },
    { name: "tell/slow", unit: "msg/s", rounds: [10, 10, 10, 10, 10, 10, 10] },
    { name: "wait/slow", unit: "ms", rounds: [4] }
  ]
  const claims: ReadonlyArray<Claim> = [
    { pair: ["tell/quick", "tell/slow"], bar: ">= 2" },
    { figure: "wait/slow", bar: "<= 5" },
    { figure: "wait/gone", bar: "<= 5" }
  ]
  const failures = [{ contestant: "gone", reason: "contestant gone ended with 1\nplanted" }]
  const results = { figures, failures }

  it("one JSON object a line", () => {
    const lines = jsonLines(claims, results).split("\n")
    assert.deepStrictEqual(
      lines.map((line) => JSON.parse(line)),
      [
        { name: "tell/quick", unit: "msg/s", value: 33, low: 30, high: 31234.5, rounds: 7 },
        { name: "tell/slow", unit: "msg/s", value: 10, low: 10, high: 10, rounds: 7 },
        { name: "wait/slow", unit: "ms", value: 4, low: null, high: null, rounds: 1 },
        {
          name: "tell/quick : tell/slow",
          unit: "ratio",
          bar: ">= 2",
          finding: "holds",
          value: 3.3,
          low: 3,
          high: 3123.45
        },
        {
          name: "wait/slow",
          unit: "ms",
          bar: "<= 5",
          finding: "undecided",
          value: 4,
          low: null,
          high: null
        },
        { name: "wait/gone", unit: "", bar: "<= 5", finding: "not measured" },
        { contestant: "gone", reason: "contestant gone ended with 1\nplanted" }
      ]
    )
  })

  it("an aligned table", () => {
    assert.strictEqual(
      table(claims, results),
      [
        "figure                  median  95 % interval   unit     rounds",
        "tell/quick                  33  30 – 31,230     msg/s    7",
        "tell/slow                   10  10 – 10         msg/s    7",
        "wait/slow                    4  too few rounds  ms       1",
        "",
        "claim                    value  95 % interval   bar      verdict",
        "tell/quick : tell/slow     3.3  3 – 3,123       >= 2     holds",
        "wait/slow                    4  too few rounds  <= 5 ms  undecided",
        "wait/gone                                       <= 5     not measured",
        "failed: gone: contestant gone ended with 1 planted"
      ].join("\n")
    )
  })

  const bench = { ...fake, claims }
  const run = (processor: string, at: string, all: Run["figures"] = figures): Run => ({
    ...results,
    figures: all,
    processor,
    machine: "2 processors",
    at
  })
  const slower = figures.map(({ name, unit }) => ({ name, unit, rounds: Array<number>(7).fill(1) }))

  it("keeps the last run of each processor, be it better or worse", () => {
    const first = keep([], run("B", "2026-01-01"))
    const both = keep(first, run("A", "2026-01-02"))
    const last = keep(both, run("B", "2026-01-03", slower))
    assert.deepStrictEqual(
      last.map(({ at, processor }) => [processor, at]),
      [
        ["A", "2026-01-02"],
        ["B", "2026-01-03"]
      ]
    )
    assert.deepStrictEqual(last[1]!.figures, slower)
  })

  it("a report of a claim on all processors, of which each must hold", () => {
    const stored = [run("A", "2026-01-02"), run("B", "2026-01-03", slower)]
    const text = markdown([{ name: "fake", bench, stored }])
    assert.include(text, "## fake\n\nKnown figures.")
    assert.include(text, "| claim | bar | A | B | on all |")
    assert.include(
      text,
      "| tell/quick : tell/slow | >= 2 | 3.3 (3 – 3,123): holds | " +
        "1 (1 – 1): does not hold | does not hold |"
    )
    assert.include(
      text,
      "| wait/slow | <= 5 ms | 4 (too few rounds): undecided | 1 (1 – 1): holds | undecided |"
    )
    assert.include(text, "| wait/gone | <= 5 | not measured | not measured | not measured |")
    assert.include(text, "On A, 2026-01-02: 2 processors.")
    assert.include(text, "failed: gone: contestant gone ended with 1 planted")
    assert.include(text, "npm run bench -- fake --json")
  })

  it("a run is that of this machine", () => {
    const { at, machine, processor } = runOf(results)
    assert.include(machine, `Node ${process.versions.node}`)
    assert.strictEqual(processor, cpus()[0]?.model.trim())
    assert.approximately(Date.parse(at), Date.now(), 60_000)
  })
})

describe("what is stored", () => {
  const results = fileURLToPath(new URL("../bench/results/", import.meta.url))

  it.each(readdirSync(results))("%s has one run of each processor model, with figures", (file) => {
    const runs: ReadonlyArray<Run> = JSON.parse(readFileSync(join(results, file), "utf8"))
    const processors = runs.map(({ processor }) => processor)
    assert.deepStrictEqual(processors, [...new Set(processors)].toSorted())
    for (const { at, failures, figures } of runs) {
      assert.isNotNaN(Date.parse(at))
      assert.isArray(failures)
      assert.isNotEmpty(figures.flatMap(({ rounds }) => rounds))
    }
  })
})

describe("the command", () => {
  // It runs on a copy, because it writes beside itself.
  const root = fileURLToPath(new URL("../", import.meta.url))
  const copy = mkdtempSync(join(tmpdir(), "handfast-bench-"))
  const bench = (...args: ReadonlyArray<string>) =>
    spawnSync(process.execPath, [join(copy, "bench/run.ts"), ...args], { encoding: "utf8" })

  beforeAll(() => {
    mkdirSync(join(copy, "docs"))
    for (const file of ["run", "harness", "report", "statistics"]) {
      cpSync(join(root, `bench/${file}.ts`), join(copy, `bench/${file}.ts`))
    }
    for (const file of ["broken", "fake"]) {
      cpSync(join(root, `test/fixtures/${file}.bench.ts`), join(copy, `bench/${file}.bench.ts`))
    }
    cpSync(join(root, "package.json"), join(copy, "package.json"))
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
  })

  afterAll(() => rmSync(copy, { recursive: true }))

  it("lists what there is, and refuses what there is not", () => {
    assert.strictEqual(
      bench().stdout,
      "broken         Runs that must be refused\nfake           Known figures\n"
    )
    const refused = bench("nosuch")
    assert.strictEqual(refused.status, 2)
    assert.include(refused.stderr, "No bench is named nosuch; there are: broken, fake")
    const rounds = bench("fake", "--rounds", "few")
    assert.strictEqual(rounds.status, 2)
    assert.include(rounds.stderr, "--rounds wants a number of rounds, not few")
  })

  it("prints a table and keeps nothing, unless it is asked for JSON", () => {
    const { status, stdout } = bench("fake", "--rounds", "1")
    assert.strictEqual(status, 0)
    assert.match(stdout, /tell\/quick : tell\/slow +3 +too few rounds +>= 2 +undecided/)
    assert.isFalse(existsSync(join(copy, "bench/results")))
  })

  it("runs a few rounds to see that a bench works, and keeps nothing", () => {
    const { status, stdout } = bench("fake", "--rounds", "1", "--json")
    assert.strictEqual(status, 0)
    assert.strictEqual(JSON.parse(stdout.split("\n")[0]!).rounds, 1)
    assert.isFalse(existsSync(join(copy, "bench/results")))
  })

  it("ends with code 1 if a contestant failed", () => {
    const { status, stdout } = bench("broken", "--rounds", "1")
    assert.strictEqual(status, 1)
    assert.include(stdout, "failed: broken: tell/broken completed 3 of 4")
  })

  // Twenty-eight processes, one after the other.
  it("keeps a run and writes the report from it", { timeout: 120_000 }, () => {
    const { status, stdout } = bench("fake", "--json")
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(JSON.parse(stdout.split("\n")[0]!), {
      name: "idle/quick",
      unit: "B",
      value: 100,
      low: 100,
      high: 100,
      rounds: 7
    })
    const kept: ReadonlyArray<Run> = JSON.parse(
      readFileSync(join(copy, "bench/results/fake.json"), "utf8")
    )
    assert.deepStrictEqual(
      kept.map(({ figures }) => figures.map(({ rounds }) => rounds.length)),
      [[7, 7, 7]]
    )
    assert.strictEqual(bench("--report").status, 0)
    const report = readFileSync(join(copy, "docs/BENCHMARKS.md"), "utf8")
    assert.include(report, "| tell/quick | 30 | 30 – 30 | msg/s | 7 |")
    assert.notInclude(report, "## broken")
  })
})
