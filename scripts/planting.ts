/** Plants known defects in copies of the sources. */
import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export interface Defect {
  readonly number: string
  readonly what: string
  readonly file: string
  readonly from: string
  readonly to: string
  /** The test file within `test`, and the part of the test's name that must fail. */
  readonly test: string
  readonly name: string
}

export const root = fileURLToPath(new URL("../", import.meta.url))

/** Copies files and folders to a new temporary directory, which the caller removes. */
export const copyOf = (names: ReadonlyArray<string>): string => {
  const copy = mkdtempSync(join(tmpdir(), "handfast-plant-"))
  for (const name of names) cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
  return copy
}

/** Plants a defect in a copy of the sources. Returns a function that takes it out again. */
export const plant = (copy: string, { file, from, to }: Defect): (() => void) => {
  const path = join(copy, file)
  const text = readFileSync(path, "utf8")
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
  writeFileSync(
    path,
    text.replace(from, () => to)
  )
  return () => writeFileSync(path, text)
}

/** The parts of vitest's report as JSON that decide about a defect. */
interface Report {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly status: string }>
  }>
}

/** What the run of a test says about a defect. */
export type Verdict = "seen" | "unseen" | "no answer"

/**
 * Judges a defect by the report of its test. Only a failing test has seen it: a runner that crashed
 * or was ended left no report, and a file that did not load ran no test.
 */
export const verdictOf = (report: string | undefined): Verdict => {
  if (report === undefined) return "no answer"
  const { testResults } = JSON.parse(report) as Report
  const results = testResults.flatMap((file) => file.assertionResults)
  const statuses = new Set(results.map(({ status }) => status))
  if (statuses.has("failed")) return "seen"
  return statuses.has("passed") ? "unseen" : "no answer"
}
