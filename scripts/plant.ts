/**
 * The test of the tests: plants known defects into a copy of the sources, one by one, and runs
 * the test that must fail. `node scripts/plant.ts [NUMBER]`, for example `node scripts/plant.ts
 * D4`. Ends with code 1 when a planted defect goes unseen.
 */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { actors } from "./plantedActors.ts"
import { fabric } from "./plantedFabric.ts"
import { lanes } from "./plantedLanes.ts"
import { copyOf, type Defect, plant, root } from "./planting.ts"

const defects = [...lanes, ...actors, ...fabric]

const copied = ["src", "test", "bench", "package.json", "tsconfig.json", "vitest.config.ts"]
const copy = copyOf(copied)

/** Plants a defect, runs its test, and takes it out again; true when the test failed. */
const seen = (defect: Defect): boolean => {
  const takeOut = plant(copy, defect)
  const vitest = join(root, "node_modules/vitest/vitest.mjs")
  const test = `test/${defect.test}.test.ts`
  const args = [vitest, "run", test, "-t", defect.name, "--testTimeout", "8000"]
  const { status } = spawnSync(process.execPath, args, { cwd: copy, timeout: 120_000 })
  takeOut()
  return status !== 0
}

const wanted = process.argv[2]
let unseen = 0
for (const defect of defects.filter(({ number }) => wanted === undefined || number === wanted)) {
  const found = seen(defect)
  if (!found) unseen++
  console.log(`${found ? "seen  " : "UNSEEN"} ${defect.number.padEnd(4)} ${defect.what}`)
}
rmSync(copy, { recursive: true })
process.exitCode = unseen === 0 ? 0 : 1
