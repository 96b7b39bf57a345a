/** Runs tests one after the other in a program, and prints a line of JSON for each. */
import * as Effect from "effect/Effect"

/** A test by its name. */
export interface Named<R> {
  readonly name: string
  readonly test: Effect.Effect<unknown, unknown, R>
}

/** How a test ended. */
export interface Line {
  readonly name: string
  readonly millis: number
  readonly failure?: string
}

/** With arguments to the program, only tests whose names contain one of them are run. */
export const report = Effect.fnUntraced(function* <R>(tests: ReadonlyArray<Named<R>>) {
  const parts = process.argv.slice(2)
  for (const { name, test } of tests) {
    if (parts.length > 0 && !parts.some((part) => name.includes(part))) continue
    const start = performance.now()
    const exit = yield* Effect.exit(test)
    const millis = Math.round(performance.now() - start)
    const failure = exit._tag === "Failure" ? { failure: String(exit.cause) } : {}
    const line: Line = { name, millis, ...failure }
    yield* Effect.sync(() => console.log(JSON.stringify(line)))
  }
})
