/**
 * Checks whether a concurrent history could have come from one object that executes one operation
 * after the other.
 *
 * The search is Wing and Gong's with Lowe's memory: it takes any operation that no other one
 * precedes, applies it to the model, and goes back when the model would have answered otherwise; a
 * set of operations that has led to a state once is not tried again. Operations without an answer
 * may be taken anywhere after their call, or never.
 */

import * as Equal from "effect/Equal"
import * as MutableHashSet from "effect/MutableHashSet"
import type { Operation } from "./History.ts"
import { jsonText } from "./internal/sim/errorText.ts"

/**
 * The specification of the object: one state, one operation at a time. `State` is a plain value,
 * and equal states have equal keys.
 */
export interface Spec<State, Input, Output> {
  readonly initial: State
  readonly apply: (state: State, input: Input) => readonly [next: State, output: Output]
  /** The key of a state, as a text. Default: states are compared by `Equal.equals`. */
  readonly key?: (state: State) => string
}

/**
 * The verdict on a history. `Rejected` has the longest part that could be explained, and the
 * operations of which none can follow it.
 */
export type Verdict<Input, Output> =
  | { readonly _tag: "Linearizable"; readonly order: ReadonlyArray<Operation<Input, Output>> }
  | {
      readonly _tag: "Rejected"
      readonly explained: ReadonlyArray<Operation<Input, Output>>
      readonly stuck: ReadonlyArray<Operation<Input, Output>>
    }
  | { readonly _tag: "GaveUp"; readonly tried: number }

interface Frame<State> {
  readonly state: State
  readonly taken: bigint
  /** The operation that led here, -1 at the start. */
  readonly by: number
  /** Candidates that have not been tried yet. */
  readonly open: Array<number>
}

/** Operations that may come next: no other one returned before they were called. */
const candidates = <Input, Output>(
  operations: ReadonlyArray<Operation<Input, Output>>,
  taken: bigint
): Array<number> => {
  let earliestReturn = Infinity
  operations.forEach(({ answer }, index) => {
    if (answer === undefined || (taken >> BigInt(index)) & 1n) return
    earliestReturn = Math.min(earliestReturn, answer.returned)
  })
  const found: Array<number> = []
  operations.forEach(({ called }, index) => {
    if (!((taken >> BigInt(index)) & 1n) && called < earliestReturn) found.push(index)
  })
  return found
}

/**
 * Searches for an order. `maxTries` bounds the search, since it is exponential in the worst case.
 */
export const check = <State, Input, Output>(
  spec: Spec<State, Input, Output>,
  history: ReadonlyArray<Operation<Input, Output>>,
  maxTries = 1_000_000
): Verdict<Input, Output> => {
  const operations = history.toSorted((a, b) => a.called - b.called)
  const key = (state: State) => (spec.key === undefined ? state : spec.key(state))
  const answered = operations.reduce(
    (set, { answer }, index) => (answer === undefined ? set : set | (1n << BigInt(index))),
    0n
  )
  const visited = new Map<bigint, MutableHashSet.MutableHashSet<State | string>>()
  const at = (index: number) => operations[index]!
  const open = candidates(operations, 0n)
  const frames: Array<Frame<State>> = [{ state: spec.initial, taken: 0n, by: -1, open }]
  const path = () => frames.slice(1).map(({ by }) => at(by))
  let explained: ReadonlyArray<Operation<Input, Output>> = []
  let stuck = open.map(at)
  for (let tried = 0; frames.length > 0; tried++) {
    const frame = frames.at(-1)!
    if ((frame.taken & answered) === answered) return { _tag: "Linearizable", order: path() }
    if (tried >= maxTries) return { _tag: "GaveUp", tried }
    const index = frame.open.shift()
    if (index === undefined) {
      frames.pop()
      continue
    }
    const { answer, input } = at(index)
    const [state, output] = spec.apply(frame.state, input)
    if (answer !== undefined && !Equal.equals(output, answer.output)) continue
    const taken = frame.taken | (1n << BigInt(index))
    const states = visited.get(taken) ?? MutableHashSet.empty()
    const known = key(state)
    if (MutableHashSet.has(states, known)) continue
    visited.set(taken, MutableHashSet.add(states, known))
    const next = candidates(operations, taken)
    frames.push({ state, taken, by: index, open: next })
    if (frames.length - 1 > explained.length) {
      explained = path()
      stuck = next.map(at)
    }
  }
  return { _tag: "Rejected", explained, stuck }
}

const line = <Input, Output>({ answer, client, input }: Operation<Input, Output>): string =>
  `  ${client}: ${jsonText(input)} -> ` +
  (answer === undefined ? "no answer" : jsonText(answer.output))

/**
 * Describes a verdict. Of a rejected history the operations that do not fit come first, and the
 * oldest explained ones are cut.
 */
export const explain = <Input, Output>(verdict: Verdict<Input, Output>): string => {
  switch (verdict._tag) {
    case "Linearizable":
      return `linearizable: ${verdict.order.length} operations`
    case "GaveUp":
      return `not decided after ${verdict.tried} tries`
    case "Rejected":
      return [
        "not linearizable. None of these can come next:",
        ...verdict.stuck.map(line),
        ...(verdict.explained.length === 0 ? [] : ["after these, the latest first:"]),
        ...verdict.explained.toReversed().map(line)
      ].join("\n")
  }
}

export type RegisterInput =
  | { readonly op: "read" }
  | { readonly op: "write"; readonly value: unknown }
  | { readonly op: "swap"; readonly from: unknown; readonly to: unknown }

/**
 * A register: `read` answers the value, `write` answers nothing, `swap` (compare and set) answers
 * whether it stored the value.
 */
export const register = (initial: unknown): Spec<unknown, RegisterInput, unknown> => ({
  initial,
  apply: (state, input) => {
    if (input.op === "read") return [state, state]
    if (input.op === "write") return [input.value, undefined]
    return Equal.equals(state, input.from) ? [input.to, true] : [state, false]
  }
})

export type QueueInput =
  | { readonly op: "enqueue"; readonly value: unknown }
  | { readonly op: "dequeue" }

/**
 * A first-in first-out queue: `enqueue` answers nothing, `dequeue` the oldest value, or `undefined`
 * if there is none.
 */
export const queue: Spec<ReadonlyArray<unknown>, QueueInput, unknown> = {
  initial: [],
  apply: (state, input) =>
    input.op === "enqueue" ? [[...state, input.value], undefined] : [state.slice(1), state[0]]
}

export type CounterInput = { readonly op: "add"; readonly by: number } | { readonly op: "read" }

/** A counter: `add` and `read` answer the total. */
export const counter: Spec<number, CounterInput, number> = {
  initial: 0,
  apply: (state, input) => {
    const total = input.op === "add" ? state + input.by : state
    return [total, total]
  }
}
