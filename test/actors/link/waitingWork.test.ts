/**
 * Goal: waiting work leaves in order, urgent work first, and costs nothing while it waits.
 * Method: random steps beside two arrays; a queue of which much is withdrawn.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { WaitingWork } from "../../../src/actors/link/WaitingWork.ts"

const work = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 }))
const steps = Arbitrary.array(
  Arbitrary.schema(
    Schema.Union([
      Schema.Struct({ do: Schema.Literal("add"), work, isUrgent: Schema.Boolean }),
      Schema.Struct({ do: Schema.Literal("remove"), work }),
      Schema.Struct({ do: Schema.Literal("next") })
    ])
  ),
  { maxLength: 60 }
)

describe("WaitingWork", () => {
  it("F1: hands out urgent work first, and each kind in the order in which it came", () => {
    const waiting = new WaitingWork<string>()
    waiting.add("a")
    waiting.add("x", true)
    waiting.add("b")
    waiting.add("y", true)
    assert.strictEqual(waiting.first, "x")
    const order = Array.from({ length: 5 }, () => waiting.next())
    assert.deepStrictEqual(order, ["x", "y", "a", "b", undefined])
  })

  it("F1: work that is withdrawn is not handed out, and others keep their places", () => {
    const waiting = new WaitingWork<string>()
    for (const name of ["a", "b", "c"]) waiting.add(name)
    assert.isTrue(waiting.remove("b"))
    assert.isFalse(waiting.remove("b"))
    waiting.add("a")
    assert.deepStrictEqual([waiting.next(), waiting.next()], ["a", "c"])
    assert.isFalse(waiting.remove("a"))
    assert.strictEqual(waiting.size, 0)
  })

  it.prop("F1: agrees with two arrays after every step", [steps], ([given]) => {
    const waiting = new WaitingWork<number>()
    let [urgent, others]: [Array<number>, Array<number>] = [[], []]
    for (const step of given) {
      const all = new Set([...urgent, ...others])
      if (step.do === "add") {
        if (!all.has(step.work)) (step.isUrgent ? urgent : others).push(step.work)
        waiting.add(step.work, step.isUrgent)
      } else if (step.do === "remove") {
        assert.strictEqual(waiting.remove(step.work), all.has(step.work))
        urgent = urgent.filter((one) => one !== step.work)
        others = others.filter((one) => one !== step.work)
      } else {
        assert.strictEqual(waiting.next(), urgent.shift() ?? others.shift())
      }
      assert.strictEqual(waiting.size, urgent.length + others.length)
      assert.strictEqual(waiting.first, urgent[0] ?? others[0])
    }
  })

  it("F1: takes out 50,000 of them without passing over what has left", () => {
    const waiting = new WaitingWork<number>()
    const count = 50_000
    for (let index = 0; index < count; index++) waiting.add(index)
    for (let index = 0; index < count; index += 2) waiting.remove(index)
    let sum = 0
    for (let next = waiting.next(); next !== undefined; next = waiting.next()) sum += next
    assert.strictEqual(sum, (count / 2) ** 2)
  })
})
