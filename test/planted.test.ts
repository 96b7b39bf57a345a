/**
 * Goal: each planted defect of `npm run plant` still finds the text that it replaces, and its test.
 * A defect that is not planted would count as seen by a test that fails for another reason.
 * Method: the lists of defects are held against the files on disk, and against planted offences.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { actors } from "../scripts/plantedActors.ts"
import { fabric } from "../scripts/plantedFabric.ts"
import { lanes } from "../scripts/plantedLanes.ts"
import { type Defect, root } from "../scripts/planting.ts"

const read = (path: string): string =>
  existsSync(join(root, path)) ? readFileSync(join(root, path), "utf8") : ""

/** Whether a test file has a test of this name; some name their tests after the defects. */
const hasTest = (text: string, { name, what }: Defect): boolean =>
  text.includes(name) ||
  (name === what && text.includes("plantedName(number)")) ||
  name.split(": ").every((part) => text.includes(part))

const offences = (defect: Defect): ReadonlyArray<string> => {
  const { file, from, name, number, test, to } = defect
  const count = read(file).split(from).length - 1
  const path = `test/${test}.test.ts`
  return [
    ...(count === 1 ? [] : [`${number}: ${file} has its text ${count} times`]),
    ...(from === to ? [`${number} changes nothing`] : []),
    ...(hasTest(read(path), defect) ? [] : [`${number}: ${path} has no test named ${name}`])
  ]
}

const all = [...lanes, ...actors, ...fabric]

describe("planted defects", () => {
  it("replace text that is in its file once, and name a test that is there", () =>
    assert.deepStrictEqual(all.flatMap(offences), []))

  it("have numbers of their own", () =>
    assert.strictEqual(new Set(all.map(({ number }) => number)).size, all.length))

  it("are refused when the text, the change or the test has gone", () => {
    const [defect] = all
    assert.isDefined(defect)
    const found = offences({ ...defect, from: "no such text", to: "no such text", test: "none" })
    assert.deepStrictEqual(found, [
      `${defect.number}: ${defect.file} has its text 0 times`,
      `${defect.number} changes nothing`,
      `${defect.number}: test/none.test.ts has no test named ${defect.name}`
    ])
  })
})
