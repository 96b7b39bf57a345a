/**
 * A failing run as a file: its seed, and the faults, the preemptions and the inputs that it needs.
 * Kept beside a test, it is a regression test that does not depend on how they are drawn.
 *
 * Preemptions are named by the text of source lines, so the run still fails after other lines were
 * added. `changed` reports when the program runs differently.
 */

import { readFile, writeFile } from "node:fs/promises"
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { FaultPlan } from "./FaultPlan.ts"
import { errorText } from "./internal/sim/errorText.ts"
import type { Failure, Report } from "./internal/sim/explore.ts"
import { Schedule } from "./Preemption.ts"
import type { Settings } from "./Sim.ts"

/** The content of a file. */
export class SavedRun extends Schema.Class<SavedRun>("handfast/testing/SavedRun")({
  test: Schema.String,
  seed: Schema.Int,
  plan: FaultPlan,
  /** Deviations from the default order of tasks; absent if only the seed repeats them. */
  schedule: Schema.optionalKey(Schedule),
  /** Drawn inputs that were shrunk, by the order in which they are drawn. */
  inputs: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  /** Fingerprint of the saved run: another one means that the program has changed. */
  fingerprint: Schema.optionalKey(Schema.Int),
  /** The error of the saved run, for the reader. */
  failure: Schema.String
}) {}

const Text = Schema.fromJsonString(SavedRun)

/** The file could not be read or written, or is no saved run. */
export class SavedRunUnusable extends Schema.TaggedError<SavedRunUnusable>()("SavedRunUnusable", {
  file: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `${this.file} is not usable as a saved run: ${errorText(this.cause)}`
  }
}

/** The absolute path: a relative one is useless without its folder. */
const unusable = (file: string | URL) => (cause: unknown) =>
  new SavedRunUnusable({ file: typeof file === "string" ? resolve(file) : file.href, cause })

/** Converts a failure to its saved form. */
export const fromFailure = (test: string, failure: Failure): SavedRun => {
  const { fingerprint, givenInputs, message, plan, schedule, seed } = failure
  const inputs = Object.fromEntries([...givenInputs].map(([nth, json]) => [String(nth), json]))
  return new SavedRun({
    test,
    seed,
    plan,
    ...(schedule !== undefined && { schedule }),
    ...(givenInputs.size > 0 && { inputs }),
    fingerprint,
    failure: message
  })
}

/** The settings with which `Sim.explore` repeats a saved run. */
export const settingsOf = ({ inputs = {}, plan, schedule, seed }: SavedRun): Settings => ({
  from: seed,
  seeds: 1,
  checkShare: 1,
  // It is already as small as when it was saved.
  shrinkAttempts: 0,
  plan,
  schedule,
  inputs: new Map(Object.entries(inputs).map(([nth, json]) => [Number(nth), json]))
})

/**
 * Describes whether the program has changed since the run was saved: the result of repeating it is
 * then unrelated to the old failure. `undefined` if the run is the same.
 */
export const changed = (run: SavedRun, report: Report): string | undefined => {
  const now = report.failure?.fingerprint ?? report.fingerprint
  if (run.fingerprint === undefined || now === undefined || now === run.fingerprint)
    return undefined
  const count = run.schedule?.length ?? 0
  const placed = Math.min(count, report.placed ?? 0)
  const found = count === 0 ? "" : `: ${placed} of ${count} preemptions still find their place`
  return `the program has changed since this run was saved${found}`
}

/** Reads a saved run. A string is a path from the working folder of the process. */
export const load = Effect.fnUntraced(function* (file: string | URL) {
  const text = yield* Effect.tryPromise({
    try: () => readFile(file, "utf8"),
    catch: unusable(file)
  })
  return yield* Effect.mapError(Schema.decodeEffect(Text)(text), unusable(file))
})

/** Writes a run where `load` finds it. */
export const save = Effect.fnUntraced(function* (file: string | URL, run: SavedRun) {
  const encoded = yield* Effect.mapError(Schema.encodeEffect(SavedRun)(run), unusable(file))
  yield* Effect.tryPromise({
    try: () => writeFile(file, `${JSON.stringify(encoded, null, 2)}\n`),
    catch: unusable(file)
  })
})
