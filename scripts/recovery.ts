/**
 * Runs `handfast start` so many times, 50 by default, and prints how long both processes took to
 * copy again after each of its faults. Ends with 1 if the 95th percentile of a fault is beyond a
 * second, or if a run broke a promise.
 *
 * ```
 * node scripts/recovery.ts 10
 * ```
 */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import type { DemoResult } from "../src/cli/demo/result.ts"

const barMillis = 1_000
const main = join(import.meta.dirname, "../src/cli/main.ts")
const run = promisify(execFile)

/** The smallest of some sorted numbers that so large a share of them does not exceed. */
const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.ceil(share * sorted.length) - 1] ?? Infinity

const runs = Number(process.argv[2] ?? 50)
const byFault = new Map<string, Array<number>>()
let broken = 0
for (let seed = 1; seed <= runs; seed++) {
  try {
    const { stdout } = await run(process.execPath, [main, "start", "--json", `--seed=${seed}`])
    const { recoveries }: DemoResult = JSON.parse(stdout)
    const longest = new Map<string, number>()
    for (const { after, millis } of recoveries) {
      longest.set(after, Math.max(millis, longest.get(after) ?? 0))
    }
    for (const [after, millis] of longest) {
      byFault.set(after, [...(byFault.get(after) ?? []), millis])
    }
  } catch (error) {
    broken += 1
    console.error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

console.log(`${runs} runs, ${broken} of them broken; milliseconds until both copy again`)
let isLate = false
for (const [after, all] of byFault) {
  const sorted = all.toSorted((one, other) => one - other)
  const [p50, p95, most] = [0.5, 0.95, 1].map((share) => Math.round(percentile(sorted, share)))
  console.log(`${after}: n ${sorted.length}  p50 ${p50}  p95 ${p95}  max ${most}`)
  isLate ||= percentile(sorted, 0.95) > barMillis
}
process.exitCode = broken > 0 || isLate ? 1 : 0
