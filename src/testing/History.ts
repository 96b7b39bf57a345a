/**
 * Operations of clients on a system and its answers, in the order in which the clients saw them.
 *
 * A history is recorded while a simulation runs and checked afterwards, see `Linearizability`. An
 * operation whose client crashed has no answer: it may have happened, or not.
 */
import * as Effect from "effect/Effect"

/** One operation of one client. `called` and `returned` are positions in one common order. */
export interface Operation<out Input, out Output> {
  readonly client: string
  readonly input: Input
  readonly called: number
  /** Missing while there is no answer. */
  readonly answer?: { readonly output: Output; readonly returned: number }
}

/** A history that is being recorded. */
export interface History<Input, Output> {
  /** Runs an operation and records it. After a failure it counts as one without an answer. */
  readonly record: <E, R>(
    client: string,
    input: Input,
    operation: Effect.Effect<Output, E, R>
  ) => Effect.Effect<Output, E, R>
  /** The operations so far. */
  readonly operations: () => ReadonlyArray<Operation<Input, Output>>
}

/** An empty history. Make it inside the simulated program, once for each run. */
export const make = <Input, Output>(): History<Input, Output> => {
  const operations: Array<Operation<Input, Output>> = []
  let order = 0
  return {
    record: (client, input, operation) =>
      Effect.suspend(() => {
        const index = operations.length
        const called = order++
        operations.push({ client, input, called })
        return Effect.map(operation, (output) => {
          operations[index] = { client, input, called, answer: { output, returned: order++ } }
          return output
        })
      }),
    operations: () => [...operations]
  }
}
