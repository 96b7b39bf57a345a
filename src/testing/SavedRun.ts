/**
 * A failing run as a file: its seed and the faults that were needed. Kept beside a test, it is a
 * regression test that does not depend on how plans are drawn.
 *
 * @since 0.1.0
 */
import { readFile, writeFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { FaultPlan } from "./FaultPlan.ts"

/**
 * What a file holds.
 *
 * @category models
 * @since 0.1.0
 */
export class SavedRun extends Schema.Class<SavedRun>("handfast/testing/SavedRun")({
  test: Schema.String,
  seed: Schema.Int,
  plan: FaultPlan,
  /** What the run failed with when it was saved, for the reader. */
  failure: Schema.String
}) {}

const Text = Schema.fromJsonString(SavedRun)

/**
 * The file could not be read or written, or it holds something else.
 *
 * @category errors
 * @since 0.1.0
 */
export class SavedRunUnusable extends Schema.TaggedError<SavedRunUnusable>()("SavedRunUnusable", {
  file: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `${this.file} is not usable as a saved run: ${String(this.cause)}`
  }
}

const unusable = (file: string | URL) => (cause: unknown) =>
  new SavedRunUnusable({ file: String(file), cause })

/**
 * Reads a saved run.
 *
 * @category files
 * @since 0.1.0
 */
export const load = Effect.fnUntraced(function* (file: string | URL) {
  const text = yield* Effect.tryPromise({
    try: () => readFile(file, "utf8"),
    catch: unusable(file)
  })
  return yield* Effect.mapError(Schema.decodeEffect(Text)(text), unusable(file))
})

/**
 * Writes a run where `load` finds it.
 *
 * @category files
 * @since 0.1.0
 */
export const save = Effect.fnUntraced(function* (file: string | URL, run: SavedRun) {
  const encoded = yield* Effect.mapError(Schema.encodeEffect(SavedRun)(run), unusable(file))
  yield* Effect.tryPromise({
    try: () => writeFile(file, `${JSON.stringify(encoded, null, 2)}\n`),
    catch: unusable(file)
  })
})
