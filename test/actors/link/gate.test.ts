/**
 * Goal: nothing passes before evidence for the present epoch, and nothing of another epoch opens a
 * gate or passes it.
 * Method: laws over random histories of epochs and evidence, beside a model of three variables.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Gate from "../../../src/actors/link/Gate.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"

const epoch = (count: number) => `0000000a.${count}` as Epoch
const count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))
const steps = Arbitrary.array(
  Arbitrary.schema(
    Schema.Union([
      Schema.Struct({ do: Schema.Literal("begin") }),
      Schema.Struct({ do: Schema.Literal("end") }),
      Schema.Struct({ do: Schema.Literal("evidence"), count, evidence: Schema.String })
    ])
  ),
  { maxLength: 30 }
)

describe("Gate", () => {
  it("is closed for its epoch, open after evidence, and of no other epoch", () => {
    const gate = Gate.closed(epoch(1))
    assert.strictEqual(Gate.standing(gate, epoch(1)), "closed")
    assert.strictEqual(Gate.standing(gate, epoch(2)), "other-epoch")
    assert.strictEqual(Gate.standing(gate, undefined), "other-epoch")
    assert.strictEqual(Gate.standing(undefined, epoch(1)), "no-gate")
    const open = Gate.open(gate, epoch(1), "acknowledged")
    assert.deepStrictEqual(open, { _tag: "Open", epoch: epoch(1), evidence: "acknowledged" })
    assert.strictEqual(Gate.standing(open, epoch(1)), "open")
    assert.strictEqual(Gate.open(open, epoch(1), "taken"), open)
    assert.isFalse(Gate.isOpen(open, epoch(2)))
    assert.isFalse(Gate.isOpen(undefined, epoch(1)))
  })

  it.prop(
    "opens by the first evidence for the present epoch, and stays as it is",
    [steps],
    ([all]) => {
      let gate: Gate.Gate<string> | undefined = undefined
      let [present, isConnected, first]: [number, boolean, string | undefined] = [
        0,
        false,
        undefined
      ]
      for (const step of all) {
        if (step.do === "begin") {
          present += 1
          ;[gate, isConnected, first] = [Gate.closed(epoch(present)), true, undefined]
        } else if (step.do === "end") [gate, isConnected, first] = [undefined, false, undefined]
        else if (gate !== undefined) {
          const before: Gate.Gate<string> = gate
          gate = Gate.open(before, epoch(step.count), step.evidence)
          if (step.count === present) first ??= step.evidence
          else assert.strictEqual(gate, before)
        }
        assert.strictEqual(gate?._tag === "Open" ? gate.evidence : undefined, first)
        for (const count of [1, 2, 3, 4]) {
          const mayPass = isConnected && count === present && first !== undefined
          assert.strictEqual(Gate.isOpen(gate, epoch(count)), mayPass)
        }
      }
    }
  )
})
