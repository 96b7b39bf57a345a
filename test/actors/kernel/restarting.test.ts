/**
 * Goal: what a supervisor decides is right for each state and input, and bounded for all of them.
 * Method: a table of steps, and random sequences of inputs that a small model judges.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import {
  affectedBy,
  type ChildRecord,
  type Input,
  newRecord,
  type Order,
  step,
  type SupervisorState
} from "../../../src/actors/kernel/internal/restarting.ts"

const rules = { outageMillis: 60_000 }
const running: SupervisorState = {
  phase: "running",
  budget: { max: 2, withinMillis: 10_000, spent: [] },
  outage: undefined
}
const inPhase = (phase: SupervisorState["phase"]): SupervisorState => ({ ...running, phase })
const spent = (...spent: ReadonlyArray<number>): SupervisorState => ({
  ...running,
  budget: { ...running.budget, spent }
})
const outage = (since: number, last: number, failures: number): SupervisorState => ({
  ...running,
  outage: { since, last, failures }
})

const crash = (
  at: number,
  record: Partial<ChildRecord> = {},
  source: "child" | "journal" = "child",
  generation = 1
) =>
  ({
    _tag: "Crashed",
    record: { ...newRecord, ...record },
    generation,
    source,
    hasStored: false,
    at
  }) as const

const journal = (at: number, hasStored = false): Input => ({
  ...crash(at, {}, "journal"),
  hasStored
})

const table: ReadonlyArray<
  readonly [
    name: string,
    from: SupervisorState,
    input: Input,
    order: Order | Order["_tag"],
    to: SupervisorState
  ]
> = [
  ["a first crash restarts", running, crash(5), "Restart", spent(5)],
  ["a crash within the budget restarts", spent(5), crash(6), "Restart", spent(5, 6)],
  [
    "a crash beyond the budget gives up",
    spent(5, 6),
    crash(10_004),
    { _tag: "GiveUp", restarts: 2, withinMillis: 10_000 },
    { ...spent(5, 6), phase: "gave-up" }
  ],
  ["a restart has left the window", spent(5, 6), crash(10_005), "Restart", spent(6, 10_005)],
  [
    "a child under restart is not counted",
    running,
    crash(5, { restarting: true }),
    "Nothing",
    running
  ],
  ["a condemned generation is stale", running, crash(5, { condemned: 1 }), "Nothing", running],
  [
    "a newer generation is not",
    running,
    crash(5, { condemned: 1 }, "child", 2),
    "Restart",
    spent(5)
  ],
  ["a halted supervisor drops crashes", inPhase("halted"), crash(5), "Nothing", inPhase("halted")],
  ["one that gave up drops crashes", inPhase("gave-up"), crash(5), "Nothing", inPhase("gave-up")],
  ["one that ended drops crashes", inPhase("ended"), crash(5), "Nothing", inPhase("ended")],
  [
    "a failing journal spends no budget",
    spent(1, 2),
    journal(5),
    "Restart",
    { ...spent(1, 2), outage: { since: 5, last: 5, failures: 1 } }
  ],
  ["its failures are one outage", outage(5, 5, 1), journal(9), "Restart", outage(5, 9, 2)],
  ["an outage may last", outage(5, 60_004, 7), journal(60_005), "Restart", outage(5, 60_005, 8)],
  [
    "but not longer",
    outage(5, 60_005, 8),
    journal(60_006),
    { _tag: "GiveUp", restarts: 8, withinMillis: 60_001 },
    { ...outage(5, 60_006, 9), phase: "gave-up" }
  ],
  [
    "a pause as long as the longest outage ends one",
    outage(5, 9, 2),
    journal(60_009),
    "Restart",
    outage(60_009, 60_009, 1)
  ],
  [
    "a shorter pause does not (a store may be slow to fail)",
    outage(5, 9, 2),
    journal(60_004),
    "Restart",
    outage(5, 60_004, 3)
  ],
  [
    "an event that was stored ends an outage",
    outage(5, 9, 2),
    journal(12, true),
    "Restart",
    outage(12, 12, 1)
  ],
  [
    "a backoff that ends gives up",
    spent(5, 6),
    { _tag: "BackoffEnded" },
    { _tag: "GiveUp", restarts: 1, withinMillis: 10_000 },
    { ...spent(5, 6), phase: "gave-up" }
  ],
  [
    "unless it is halted meanwhile",
    inPhase("halted"),
    { _tag: "BackoffEnded" },
    "Nothing",
    inPhase("halted")
  ],
  ["a halt halts", spent(5), { _tag: "Halt" }, "HaltAll", { ...spent(5), phase: "halted" }],
  ["a halt may be repeated", inPhase("halted"), { _tag: "Halt" }, "HaltAll", inPhase("halted")],
  [
    "one that gave up can be halted",
    inPhase("gave-up"),
    { _tag: "Halt" },
    "HaltAll",
    inPhase("halted")
  ],
  [
    "a start begins with a fresh budget",
    { ...outage(1, 2, 3), budget: spent(5, 6).budget, phase: "halted" },
    { _tag: "Start" },
    "StartAll",
    running
  ],
  ["what runs is not started twice", spent(5), { _tag: "Start" }, "Nothing", spent(5)],
  [
    "one that gave up is halted before it starts",
    inPhase("gave-up"),
    { _tag: "Start" },
    "Nothing",
    inPhase("gave-up")
  ],
  ["an end ends", running, { _tag: "End" }, "EndAll", inPhase("ended")],
  ["what was halted can end", inPhase("halted"), { _tag: "End" }, "EndAll", inPhase("ended")],
  ["an end is final", inPhase("ended"), { _tag: "End" }, "Nothing", inPhase("ended")],
  ["no start follows it", inPhase("ended"), { _tag: "Start" }, "Nothing", inPhase("ended")],
  ["no halt follows it", inPhase("ended"), { _tag: "Halt" }, "Nothing", inPhase("ended")]
]

describe("a step of a supervisor", () => {
  for (const [name, from, input, order, to] of table) {
    it(name, () => {
      const next = step(rules, from, input)
      assert.deepStrictEqual(next.state, to)
      if (typeof order === "string") assert.strictEqual(next.order._tag, order)
      else assert.deepStrictEqual(next.order, order)
    })
  }

  const fresh = (restartAt: number | undefined) => {
    const { order } = step(rules, running, crash(20_000, { restartAt }))
    return order._tag === "Restart" && order.freshBackoff
  }

  it("begins a child's backoff anew after a quiet window from its restart on", () => {
    assert.deepStrictEqual([undefined, 10_000, 10_001].map(fresh), [true, true, false])
  })
})

describe("the children that a crash affects", () => {
  const children = ["a", "b", "c", "d"]
  it("is one, all, or those from the crashed one on", () => {
    assert.deepStrictEqual(affectedBy("one-for-one", children, "b"), ["b"])
    assert.deepStrictEqual(affectedBy("one-for-all", children, "b"), children)
    assert.deepStrictEqual(affectedBy("rest-for-one", children, "b"), ["b", "c", "d"])
    assert.deepStrictEqual(affectedBy("rest-for-one", children, "a"), children)
  })
})

/** What is drawn: how long after the one before, and what. */
const Drawn = Schema.Array(
  Schema.Struct({
    after: Schema.Literals([0, 1, 2_000, 9_999, 10_000, 30_000]),
    input: Schema.Literals(["crash", "crash", "journal", "backoff", "halt", "start", "end"]),
    stale: Schema.Boolean
  })
)

describe("any sequence of inputs", () => {
  it.prop("keeps the bounds", [Drawn], ([drawn]) => {
    let state: SupervisorState = running
    let at = 0
    let restarts: Array<number> = []
    for (const { after, input, stale } of drawn) {
      at += after
      const record = { ...newRecord, condemned: stale ? 1 : 0 }
      const before = state
      const next = step(rules, state, inputOf(input, at, record))
      state = next.state
      const { order } = next
      if (before.phase === "ended")
        assert.deepStrictEqual(next, { state: before, order: { _tag: "Nothing" } })
      if (order._tag === "Restart") {
        assert.isTrue(before.phase === "running" && !stale, "only what runs is restarted")
        if (input === "crash") restarts.push(at)
      }
      if (order._tag === "StartAll") {
        assert.strictEqual(before.phase, "halted")
        restarts = []
      }
      const recent = restarts.filter((time) => time > at - 10_000)
      assert.isAtMost(recent.length, 2, "no more restarts than the budget in any window")
      assert.isAtMost(state.budget.spent.length, 2)
      if (order._tag === "GiveUp") assert.strictEqual(state.phase, "gave-up")
    }
  })
})

const inputOf = (
  input: (typeof Drawn)["Type"][number]["input"],
  at: number,
  record: ChildRecord
): Input => {
  switch (input) {
    case "crash":
      return crash(at, record)
    case "journal":
      return crash(at, record, "journal")
    case "backoff":
      return { _tag: "BackoffEnded" }
    case "halt":
      return { _tag: "Halt" }
    case "start":
      return { _tag: "Start" }
    case "end":
      return { _tag: "End" }
  }
}
