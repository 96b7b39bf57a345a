/**
 * Goal: so many calls are under way to one server and no more; the next one is urgent if there is
 * one, and a call that was given up while it waited is never made (R35).
 * Method: the turns themselves, and the order in which calls begin.
 */
import { assert, describe, it } from "@effect/vitest"
import { Turns } from "../../../src/actors/endpoint/mooncake/internal/turns.ts"

/** Turns, what began so far, and a call by its name. */
const make = (limit: number) => {
  const turns = new Turns(limit)
  const begun: Array<string> = []
  const take = (name: string, isUrgent = false, server = "s") =>
    turns.take(server, isUrgent, () => void begun.push(name))
  return { turns, begun, take }
}

describe("turns at a server", () => {
  it("R35: begin in order, the urgent ones first, and so many at the same time", () => {
    const { begun, take, turns } = make(2)
    for (const name of ["a", "b", "c", "d"]) take(name)
    take("e", true)
    assert.deepStrictEqual(begun, ["a", "b"])
    for (let count = 0; count < 3; count++) turns.release("s", true)
    assert.deepStrictEqual(begun, ["a", "b", "e", "c", "d"])
    take("f")
    assert.notInclude(begun, "f")
    turns.release("s", true)
    assert.include(begun, "f")
  })

  it("R35: are of one server: another one's calls do not wait for them", () => {
    const { begun, take } = make(1)
    take("a")
    take("b", false, "other")
    assert.deepStrictEqual(begun, ["a", "b"])
  })

  it("R35: are not taken by a call that was given up before its turn", () => {
    const { begun, take, turns } = make(1)
    take("a")
    const giveUps = [take("b"), take("c", true)]
    take("d")
    for (const giveUp of giveUps) giveUp()
    turns.release("s", true)
    assert.deepStrictEqual(begun, ["a", "d"])
    // One whose turn has come keeps it until it is released.
    turns.release("s", true)
    take("e")()
    take("f")
    assert.deepStrictEqual(begun, ["a", "d", "e"])
  })
})
