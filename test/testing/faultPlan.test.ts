/**
 * Goal: a fault plan keeps its meaning as JSON, refuses what is none, and reads well.
 * Method: a table of one fault of each kind with its JSON and its line, and a table of offences,
 * each of one field.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { again, describe as lineOf, type Fault, FaultPlan } from "../../src/testing/FaultPlan.ts"

const lines: ReadonlyArray<readonly [fault: Fault, line: string]> = [
  [{ _tag: "Crash", process: "a", at: { step: 7 } }, "crash a at step 7, for good"],
  [
    { _tag: "Crash", process: "a", at: { millis: 1.23456 }, restartAfter: 0 },
    "crash a at 1.235 ms, back after 0 ms"
  ],
  [{ _tag: "Pause", process: "b", at: { millis: 20 }, forMillis: 5 }, "pause b at 20 ms for 5 ms"],
  [
    { _tag: "Skew", process: "a", at: { step: 1 }, jumpMillis: 30, rate: 1.5 },
    "skew a at step 1: clock +30 ms, rate 1.5"
  ],
  [
    { _tag: "Skew", process: "a", at: { step: 1 }, jumpMillis: 0, rate: 1 },
    "skew a at step 1: clock +0 ms, rate 1"
  ],
  [
    { _tag: "Skew", process: "a", at: { step: 1 }, jumpMillis: -30, rate: 0.5 },
    "skew a at step 1: clock -30 ms, rate 0.5"
  ],
  [
    { _tag: "Journal", operation: "append", nth: 3, kind: "disk-full", millis: 40 },
    "journal append no. 3: disk-full (40 ms)"
  ],
  [
    { _tag: "Fabric", at: { millis: 2 }, fault: { _tag: "Rnr", node: "a", forMillis: 9 } },
    "a has no receives at 2 ms for 9 ms"
  ],
  [
    { _tag: "Fabric", at: { step: 2 }, fault: { _tag: "RetryExhaustion", node: "a" } },
    "retries exhausted at a at step 2"
  ],
  [{ _tag: "Site", name: "before the write" }, 'chaos at "before the write"']
]

const decode = Schema.decodeUnknownResult(FaultPlan)
const isPlan = (value: unknown): boolean => Result.isSuccess(decode(value))

describe("the line of a fault", () => {
  it.each(lines)("%j", (fault, line) => {
    assert.strictEqual(lineOf(fault), line)
  })

  it("says when a process is back", () => {
    assert.strictEqual(again(undefined), "for good")
    assert.strictEqual(again(0), "back after 0 ms")
    assert.strictEqual(again(250), "back after 250 ms")
  })
})

describe("a plan as JSON", () => {
  const plan = lines.map(([fault]) => fault)

  it("is the same plan again", () => {
    const text = JSON.stringify(Schema.encodeUnknownSync(FaultPlan)(plan))
    assert.deepStrictEqual(Schema.decodeUnknownSync(FaultPlan)(JSON.parse(text)), plan)
    assert.deepStrictEqual(JSON.parse(text), plan)
  })

  it("may be empty", () => {
    assert.isTrue(isPlan([]))
    assert.isFalse(isPlan({}))
  })

  it.each(["claim", "append", "read", "snapshot", "prune"])(
    "has journal faults of the operation %s",
    (operation) => {
      assert.isTrue(isPlan([{ _tag: "Journal", operation, nth: 1, kind: "slow", millis: 1 }]))
    }
  )

  it.each([
    "slow",
    "refused",
    "failed-after-write",
    "disk-full",
    "corrupt",
    "crash-after-write",
    "lost-at-crash"
  ])("has journal faults of the kind %s", (kind) => {
    assert.isTrue(isPlan([{ _tag: "Journal", operation: "append", nth: 1, kind, millis: 1 }]))
  })

  const without = (fault: Fault, key: string) =>
    Object.fromEntries(Object.entries(fault).filter(([name]) => name !== key))

  /** Every field that a fault needs, by the fault's place in the table. */
  const needed = lines.flatMap(([fault]) =>
    Object.keys(fault)
      .filter((key) => key !== "restartAfter")
      .map((key) => [key, fault] as const)
  )

  it.each(needed)("needs %s in %j", (key, fault) => {
    assert.isTrue(isPlan([fault]))
    assert.isFalse(isPlan([without(fault, key)]))
    assert.isFalse(isPlan([{ ...without(fault, key), [key]: null }]))
  })

  const crash = { _tag: "Crash", process: "a", at: { step: 1 } }
  const skew = { _tag: "Skew", process: "a", at: { step: 1 }, jumpMillis: 0, rate: 1 }
  const journal = { _tag: "Journal", operation: "append", nth: 1, kind: "slow", millis: 1 }

  it.each([
    ["a kind of fault that does not exist", { ...crash, _tag: "Crush" }],
    ["a moment without a time", { ...crash, at: {} }],
    ["half a step", { ...crash, at: { step: 1.5 } }],
    ["a time without an end", { ...crash, at: { millis: Infinity } }],
    ["a restart that never comes", { ...crash, restartAfter: Infinity }],
    ["a restart after a text", { ...crash, restartAfter: "1" }],
    ["clocks that stand still", { ...skew, rate: 0 }],
    ["clocks that run backwards", { ...skew, rate: -1 }],
    ["an operation that journals do not have", { ...journal, operation: "write" }],
    ["a journal fault of unknown kind", { ...journal, kind: "sever" }],
    ["half an operation", { ...journal, nth: 1.5 }],
    ["an unknown fabric fault", { _tag: "Fabric", at: { step: 1 }, fault: { _tag: "Sever" } }]
  ])("refuses %s", (_, fault) => {
    assert.isFalse(isPlan([fault]))
  })

  it("takes a step or a time as the moment", () => {
    assert.isTrue(isPlan([crash, { ...crash, at: { millis: 1.5 } }, { ...crash, restartAfter: 1 }]))
    assert.isTrue(isPlan([{ ...skew, rate: 0.001 }]))
  })
})
