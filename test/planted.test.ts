/**
 * Goal: each planted defect of `npm run plant` still finds the text that it replaces, and its test;
 * and it counts as seen only if a test fails. Otherwise a runner that crashes would see them all.
 * Method: the lists of defects are held against the files on disk, and against planted offences;
 * reports as vitest writes them are judged, and one of a file that does not load is made by it.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { actors } from "../scripts/plantedActors.ts"
import { fabric } from "../scripts/plantedFabric.ts"
import { lanes } from "../scripts/plantedLanes.ts"
import { type Defect, root, verdictOf } from "../scripts/planting.ts"

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

const reportOf = (...statuses: ReadonlyArray<string>): string =>
  JSON.stringify({
    testResults: [{ assertionResults: statuses.map((status) => ({ status })) }]
  })

describe("the verdict on a planted defect", () => {
  it("is seen by a test that fails, and by nothing else", () => {
    assert.strictEqual(verdictOf(reportOf("passed", "failed", "skipped")), "seen")
    assert.strictEqual(verdictOf(reportOf("passed", "skipped")), "unseen")
  })

  it("is no answer without a report, as of a runner that crashed or was ended", () =>
    assert.strictEqual(verdictOf(undefined), "no answer"))

  it("is no answer if no test ran", () => {
    assert.strictEqual(verdictOf(reportOf("skipped")), "no answer")
    assert.strictEqual(verdictOf(reportOf()), "no answer")
  })

  it("is no answer of a file that does not load, though vitest ends with 1", () => {
    const folder = mkdtempSync(join(tmpdir(), "handfast-verdict-"))
    try {
      const judged = (source: string) => {
        const file = join(folder, "planted.test.ts")
        const report = join(folder, "report.json")
        writeFileSync(file, source)
        const args = ["run", file, "--root", folder, "--reporter=json", `--outputFile=${report}`]
        const vitest = join(root, "node_modules/vitest/vitest.mjs")
        const { status } = spawnSync(process.execPath, [vitest, ...args])
        return [status, verdictOf(readFileSync(report, "utf8"))]
      }
      const entry = pathToFileURL(join(root, "node_modules/vitest/dist/index.js"))
      const head = `import { it } from "${entry}"\n`
      assert.deepStrictEqual(judged("throw new Error('planted')"), [1, "no answer"])
      assert.deepStrictEqual(judged(`${head}it("a", () => { throw new Error() })`), [1, "seen"])
      assert.deepStrictEqual(judged(`${head}it("a", () => {})`), [0, "unseen"])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
