/**
 * Goal: what a failing run prints is complete, aligned and bounded; the parts underneath are right.
 * Method: an example is run as a user runs it, and programs with a known bug each; timers and
 * random streams are held against models.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Faults, Printout, Sim } from "../../src/testing/index.ts"
import { Prng } from "../../src/testing/internal/sim/prng.ts"
import { Timers } from "../../src/testing/internal/sim/timers.ts"
import { doubleCharge } from "../fixtures/bugs/doubleCharge.ts"
import { doubleRelease } from "../fixtures/bugs/doubleRelease.ts"
import { dualWrite } from "../fixtures/bugs/dualWrite.ts"
import { fiveMillisApart, sideBySide } from "../fixtures/bugs/lostUpdate.ts"
import { staleCache } from "../fixtures/bugs/staleCache.ts"
import { deadlock, stuck } from "../fixtures/stuck.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

describe("the printout", () => {
  it("of the example shows both reads before both writes, with their values and places", () => {
    const example = ["examples/find-a-lost-update.ts"]
    const output = execFileSync(process.execPath, example, { cwd: root, encoding: "utf8" })
    assert.match(output, /own scheduler: 1000 runs, no update lost/)
    assert.match(output, /paid in 42, the balance is \d+/)
    const events = [...output.matchAll(/#\d deposit .*(Ref\.get\(account\) → 0|stores)/g)]
    assert.deepStrictEqual(
      events.map(([, event]) => event),
      ["Ref.get(account) → 0", "Ref.get(account) → 0", "stores", "stores"]
    )
    assert.match(output, /1 preemption of \d+/)
  })

  const chatty = Effect.gen(function* () {
    yield* Sim.process("server", Effect.sleep("1 second"))
    yield* Faults.install([
      { _tag: "Pause", process: "server", at: { millis: 5 }, forMillis: 10 },
      { _tag: "Crash", process: "server", at: { millis: 50 }, restartAfter: 7 }
    ])
    for (let i = 0; i < 500; i++) {
      yield* Sim.note(`line ${i}; with a # and\nmore`)
      yield* Effect.sleep(1)
    }
    return yield* Effect.fail("the end")
  })

  it.effect("is bounded: what is left out is counted, and printed in full when asked for", () =>
    Effect.gen(function* () {
      const settings = { seeds: 1, traceLines: 20, shrinkAttempts: 0 }
      const report = yield* Sim.explore(chatty, settings)
      const failure = report.failure!
      assert.isAbove(failure.trace.length, 500)
      const text = Printout.failure(failure, report, "repeat me")
      assert.isBelow(text.split("\n").length, 50)
      assert.match(text, /\.\.\. \d+ lines? left out/)
      assert.match(text, /SIM_TRACE=full prints all lines/)
      assert.match(text, /repeat it:\n  repeat me$/)
      const full = Printout.failure(failure, report, "repeat me", { full: true })
      assert.strictEqual(full.match(/ line \d+; with a #/g)?.length, 500)
    })
  )

  it.effect("lines up its columns and names the faults with their moments", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(chatty, { seeds: 1, shrinkAttempts: 0 })
      const failure = report.failure!
      const lines = Printout.trace(failure.trace).split("\n")
      const columns = lines.map((line) => /  (place|simulation-printout)/.exec(line)?.index ?? 0)
      assert.strictEqual(new Set(columns.filter((column) => column > 0)).size, 1)
      const of = (pattern: RegExp) => lines.find((line) => pattern.test(line))
      assert.match(of(/pauses/) ?? "", /^ +5 .* server .* pauses for 10 ms$/)
      assert.match(of(/crashes/) ?? "", /^ +50 .* server .* crashes \(back after 7 ms\)$/)
      const text = Printout.failure(failure, report)
      assert.match(text, /pause server at 5 ms for 10 ms/)
      for (const line of text.split("\n")) assert.isAtMost(line.length, 80)
    })
  )

  it.effect("as JSON is plain data", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(chatty, { seeds: 1 })
      const json = Printout.json(report)
      const copy: object = JSON.parse(JSON.stringify(json))
      assert.propertyVal(copy, "firstFailingSeed", 1)
      assert.nestedPropertyVal(copy, "failure.message", "the end")
      const clean = Printout.json(yield* Sim.explore(Effect.void, { seeds: 3 }))
      assert.include(clean, { runs: 3, failures: 0, deterministic: true, failure: null })
    })
  )
})

/** The printed report of the first failing seed. */
const reportOf = <E>(program: Effect.Effect<void, E, Scope.Scope>) =>
  Effect.map(Sim.explore(program, { seeds: 200 }), (report) => {
    assert.isDefined(report.failure)
    return Printout.failure(report.failure, report, "SIM_SEED=0x1 npx vitest run a.test.ts")
  })

describe("S5: a report", () => {
  const bugs = { sideBySide, fiveMillisApart, doubleRelease, staleCache, doubleCharge, dualWrite }
  const said: Record<keyof typeof bugs, ReadonlyArray<RegExp>> = {
    sideBySide: [
      /^paid in 20, the balance is 10\n {2}at lostUpdate\.ts:\d+ /,
      /#2 deposit is preempted before this, .*\n {6}lostUpdate\.ts:\d+ {2}yield\* Ref\.set/,
      /#2 deposit .*balance = Ref\.get\(account\) → 0\n[^]*PREEMPTED/,
      /#3 deposit .*balance = Ref\.get\(account\) → 0/
    ],
    fiveMillisApart: [
      /^paid in 20, the balance is 10/,
      /a timer of #2 deposit fires \d+ ms late:\n {6}lostUpdate\.ts:\d+ .*Effect\.sleep/,
      /sleeps 1 ms, wakes \d+ ms late/
    ],
    doubleRelease: [/^3 of 2 connections are free/, /take\(free\) → true/, /is interrupted/],
    staleCache: [/^the price is 2, the cache says 1/, /#\d read .*sleeps 2 ms, wakes \d+ ms late/],
    doubleCharge: [/^charged for book,book/, /a timer of #\d service fires \d+ ms late/],
    dualWrite: [
      /^no mail for order \d/,
      /1 fault of \d/,
      /crash shop at .*, when it was at:\n {6}dualWrite\.ts:\d+ {2}sleeps/,
      /sleeps 1 ms\n[^]*crashes \(back/
    ]
  }

  for (const [name, { broken }] of Object.entries(bugs)) {
    it.effect(`of ${name} fits one screen and names values, places and causes`, () =>
      Effect.gen(function* () {
        const text = yield* reportOf<unknown>(broken)
        const lines = text.split("\n")
        assert.isAtMost(lines.length, 50)
        for (const line of lines) assert.isAtMost(line.length, 80)
        for (const pattern of said[name as keyof typeof bugs]) assert.match(text, pattern)
        assert.match(text, /\n {2}SIM_SEED=.*$/)
        assert.notMatch(text, /mermaid/)
      })
    )
  }

  it.effect("of a program that waits for ever folds its polling and keeps the cause", () =>
    Effect.gen(function* () {
      const text = yield* reportOf(stuck)
      assert.isAtMost(text.split("\n").length, 50)
      assert.match(text, /Ref\.get\(isReady\) → false/)
      assert.match(text, /sleeps 30 ms \(\d+ times more, to \d+(\.\d+)? ms\)/)
      assert.match(text, /Ref\.set\(leader, "a"\)\n[^]*crashes \(back after[^]*leader\) → "a"/)
      assert.match(text, /not reached within 30000 ms/)
    })
  )

  it.effect("of a deadlock says in which operation each fiber waits", () =>
    Effect.gen(function* () {
      const text = yield* reportOf(deadlock)
      assert.match(text, /#2 first in main, .* at stuck\.ts:\d+: Deferred\.await\(left\)/)
      assert.match(text, /#3 second .*Deferred\.await\(right\) \.\.\./)
      for (const line of text.split("\n")) assert.isAtMost(line.length, 80)
    })
  )

  it("has a diagram where messages passed between processes only", () => {
    const line = { millis: 1, step: 1, process: "a", fiber: "#1", place: "", text: "asks" }
    assert.strictEqual(Printout.diagram([line]), "")
    const shown = Printout.diagram([line, { ...line, to: "disk" }])
    assert.match(shown, /^sequenceDiagram\n[^]*p0->>p1: asks$/)
  })
})

describe("timers", () => {
  it("leave the heap in the order of time, then of setting, without the cancelled ones", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const prng = new Prng(seed, "timers")
      const timers = new Timers<string>()
      const model: Array<{ at: number; id: number; owner: string; cancelled: boolean }> = []
      const popped: Array<number> = []
      const expected: Array<number> = []
      for (let id = 0; id < 100; id++) {
        const [at, owner] = [prng.below(20), prng.pick(["a", "b", "c"])]
        const timer = timers.add(at, owner, () => popped.push(id))
        const cancelled = prng.chance(0.2)
        timer.cancelled = cancelled
        model.push({ at, id, owner, cancelled })
      }
      timers.cancelOwner("b")
      const left = model.filter(({ cancelled, owner }) => !cancelled && owner !== "b")
      for (const { id } of left.toSorted((x, y) => x.at - y.at || x.id - y.id)) expected.push(id)
      for (let timer = timers.pop(); timer !== undefined; timer = timers.pop()) timer.fire()
      assert.deepStrictEqual(popped, expected, `seed ${seed}`)
    }
  })
})

describe("a random stream", () => {
  it("is even: each of ten numbers comes up about as often, from neighbouring seeds too", () => {
    const counts = Array.from({ length: 10 }, () => 0)
    const firsts = Array.from({ length: 10 }, () => 0)
    const long = new Prng(1, "even")
    for (let i = 0; i < 100_000; i++) {
      counts[long.below(10)]!++
      firsts[new Prng(i, "first").below(10)]!++
    }
    // Five standard deviations of a binomial with n = 100,000 and p = 0.1 are 474.
    for (const count of [...counts, ...firsts]) assert.closeTo(count, 10_000, 474)
  })

  it("differs by seed and by name, also for seeds beyond 32 bits", () => {
    const draw = (seed: number, name: string) => new Prng(seed, name).double()
    assert.strictEqual(draw(1, "a"), draw(1, "a"))
    const draws = [draw(1, "a"), draw(2, "a"), draw(1, "b"), draw(1 + 2 ** 32, "a")]
    assert.strictEqual(new Set(draws).size, 4)
  })
})

describe("C21: a long message", () => {
  for (const text of ["word ".repeat(200_000), "x".repeat(1_000_000)]) {
    it.live(`of ${text.slice(0, 4)}... is printed in rows of the screen, and soon`, () =>
      Effect.gen(function* () {
        const program = Effect.die(new Error(text))
        const report = yield* Sim.explore(program, { seeds: 1, shrinkAttempts: 0 })
        const rows = Printout.failure(report.failure!, report).split("\n")
        assert.isBelow(rows.length, 60)
        for (const row of rows) assert.isAtMost(row.length, 80)
      })
    )
  }
})
