/**
 * Goal: what the bench harness prints can be believed.
 * Method: it races a bench with known figures in real processes, and must refuse runs that lose
 * work, hang or throw.
 */
import { spawnSync } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { judge, median, race, rate } from "../bench/harness.ts"
import { waitedAtMost } from "../bench/lanes/waits.ts"
import { jsonLines, markdown, stored, table } from "../bench/report.ts"
import fake from "./fixtures/fake.bench.ts"

const fixture = (name: string) => new URL(`./fixtures/${name}.bench.ts`, import.meta.url).href

const rejection = async (run: Promise<unknown>): Promise<string> => {
  try {
    await run
  } catch (error) {
    return String(error)
  }
  return "it was accepted"
}

describe("the race", () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  it("takes turns in separate processes, at least five rounds, and takes medians", async () => {
    const directory = mkdtempSync(join(tmpdir(), "handfast-bench-"))
    const log = join(directory, "log")
    vi.stubEnv("FAKE_BENCH_LOG", log)
    const results = await race(fixture("fake"))
    const runs = readFileSync(log, "utf8").trim().split("\n")
    rmSync(directory, { recursive: true })

    const order = runs.map((line) => line.split(" ")[0])
    assert.deepStrictEqual(order.slice(0, 4), ["slow", "quick", "quick", "slow"])
    assert.strictEqual(runs.length, 10)
    assert.strictEqual(new Set(runs.map((line) => line.split(" ")[1])).size, 10)
    assert.deepStrictEqual(
      results.figures.map(({ name, rounds, unit, value }) => [name, value, unit, rounds.length]),
      [
        ["idle/quick", 100, "B", 5],
        ["tell/quick", 30, "msg/s", 5],
        ["tell/slow", 10, "msg/s", 5]
      ]
    )
    assert.deepStrictEqual(
      results.verdicts.map(({ holds, value }) => [value, holds]),
      [
        [3, true],
        [3, false]
      ]
    )
  })

  it("refuses a run that completed less than it was asked for", async () => {
    assert.include(await rejection(race(fixture("broken"))), "completed 3 of 4")
  })

  it("stops a run that hangs, and names it", async () => {
    vi.stubEnv("BROKEN_BENCH", "hangs")
    assert.include(await rejection(race(fixture("broken"))), "broken was stopped after 1 s")
  })

  it("refuses a run that throws, and shows what it printed", async () => {
    vi.stubEnv("BROKEN_BENCH", "throws")
    const reason = await rejection(race(fixture("broken")))
    assert.include(reason, "broken ended with 1")
    assert.include(reason, "Error: planted")
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

  it("a claim about a figure that nobody measured is an error", () => {
    assert.throws(
      () => judge([], [{ pair: ["a/b", "c/d"], bar: ">= 1" }]),
      "no figure is named a/b"
    )
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
    { name: "tell/quick", value: 31234.5, unit: "msg/s", rounds: [30000, 32000] },
    { name: "tell/slow", value: 10, unit: "msg/s", rounds: [10] }
  ]
  const verdicts = judge(figures, [{ pair: ["tell/quick", "tell/slow"], bar: ">= 2" }])

  it("one JSON object a line", () => {
    const lines = jsonLines({ figures, verdicts }).split("\n")
    assert.deepStrictEqual(
      lines.map((line) => JSON.parse(line)),
      [
        { name: "tell/quick", value: 31234.5, unit: "msg/s" },
        { name: "tell/slow", value: 10, unit: "msg/s" },
        {
          name: "tell/quick : tell/slow",
          value: 3123.45,
          unit: "ratio",
          pair: ["tell/quick", "tell/slow"],
          bar: ">= 2",
          holds: true
        }
      ]
    )
  })

  it("an aligned table", () => {
    assert.strictEqual(
      table({ figures, verdicts }),
      [
        "figure                   median  unit   lowest – highest",
        "tell/quick               31,230  msg/s  30,000 – 32,000",
        "tell/slow                    10  msg/s  10 – 10",
        "",
        "claim                     value  bar    verdict",
        "tell/quick : tell/slow  3123.45  >= 2   holds"
      ].join("\n")
    )
  })

  it("a report with the machine and the command that repeats it", () => {
    const text = markdown([stored("fake", fake, { figures, verdicts })])
    assert.include(text, "## fake\n\nKnown figures.")
    assert.include(text, `Node ${process.versions.node}`)
    assert.include(text, "| tell/quick : tell/slow | 3123.45 | >= 2 | holds |")
    assert.include(text, "npm run bench -- fake --json")
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
    for (const file of ["run", "harness", "report"]) {
      cpSync(join(root, `bench/${file}.ts`), join(copy, `bench/${file}.ts`))
    }
    cpSync(join(root, "test/fixtures/fake.bench.ts"), join(copy, "bench/fake.bench.ts"))
    cpSync(join(root, "package.json"), join(copy, "package.json"))
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
  })

  afterAll(() => rmSync(copy, { recursive: true }))

  it("lists what there is, and refuses what there is not", () => {
    assert.strictEqual(bench().stdout, "fake           Known figures\n")
    const refused = bench("nosuch")
    assert.strictEqual(refused.status, 2)
    assert.include(refused.stderr, "No bench is named nosuch; there are: fake")
  })

  it("prints a table and keeps nothing, unless it is asked for JSON", () => {
    const { status, stdout } = bench("fake")
    assert.strictEqual(status, 0)
    assert.include(stdout, "tell/quick : tell/slow")
    assert.isFalse(existsSync(join(copy, "bench/results")))
  })

  it("keeps a run and writes the report from it", () => {
    const { status, stdout } = bench("fake", "--json")
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(JSON.parse(stdout.split("\n")[0]!), {
      name: "idle/quick",
      value: 100,
      unit: "B"
    })
    assert.strictEqual(bench("--report").status, 0)
    const report = readFileSync(join(copy, "docs/BENCHMARKS.md"), "utf8")
    assert.include(report, "| tell/quick | 30 | msg/s | 30 – 30 |")
  })
})
