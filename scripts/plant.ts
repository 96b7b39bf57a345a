/**
 * The test of the tests: plants known defects into a copy of the sources, one by one, and runs
 * the test that must fail. `node scripts/plant.ts [NUMBER]`, for example `node scripts/plant.ts
 * D4`. Ends with code 1 when a planted defect goes unseen, or when its test gave no answer.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { actors } from "./plantedActors.ts"
import { fabric } from "./plantedFabric.ts"
import { lanes } from "./plantedLanes.ts"
import { copyOf, type Defect, plant, root, type Verdict, verdictOf } from "./planting.ts"

const defects = [...lanes, ...actors, ...fabric]

const copied = ["src", "test", "bench", "package.json", "tsconfig.json", "vitest.config.ts"]
const copy = copyOf(copied)

const vitest = join(root, "node_modules/vitest/vitest.mjs")
const report = join(copy, "report.json")

/** Plants a defect, runs its test, and takes it out again. */
const judge = (defect: Defect): Verdict => {
  rmSync(report, { force: true })
  const takeOut = plant(copy, defect)
  const test = `test/${defect.test}.test.ts`
  const limits = ["--testTimeout", "8000"]
  const reporter = ["--reporter=json", `--outputFile=${report}`]
  const args = [vitest, "run", test, "-t", defect.name, ...limits, ...reporter]
  spawnSync(process.execPath, args, { cwd: copy, timeout: 120_000 })
  takeOut()
  return verdictOf(existsSync(report) ? readFileSync(report, "utf8") : undefined)
}

const marks = { seen: "seen  ", unseen: "UNSEEN", "no answer": "BROKEN" }
const wanted = process.argv[2]
let unseen = 0
for (const defect of defects.filter(({ number }) => wanted === undefined || number === wanted)) {
  const verdict = judge(defect)
  if (verdict !== "seen") unseen++
  console.log(`${marks[verdict]} ${defect.number.padEnd(4)} ${defect.what}`)
}
rmSync(copy, { recursive: true })
process.exitCode = unseen === 0 ? 0 : 1
