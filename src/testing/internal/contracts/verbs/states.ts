/** Demands on the states of a queue pair. */
import * as Effect from "effect/Effect"
import {
  canTransition,
  type State,
  states as everyState,
  type Transition
} from "../../../../native/verbs/QueuePairState.ts"
import { failureOf, same } from "../contract.ts"
import { apart, demand, type End, ended, post, receive, toReady, toReceive, work } from "./rig.ts"

const stepTo = (to: State, other: End): Transition => {
  const path = { gid: other.port.gids[0]!.gid, lid: other.port.lid }
  const { activeMtu: mtu } = other.port
  return to === "rtr" ? { to, path, mtu, peer: other.queuePair.number } : { to }
}

/** Takes a fresh queue pair to a state. */
const at = Effect.fnUntraced(function* (state: State, local: End, other: End) {
  const queuePair = yield* local.domain.queuePair({ sendCompletions: local.completions })
  const way: ReadonlyArray<State> = state === "err" ? ["err"] : everyState
  for (const to of way.slice(0, way.indexOf(state) + 1)) {
    if (to !== "reset") yield* queuePair.modify(stepTo(to, other))
  }
  yield* same(queuePair.state, state, "state")
  return queuePair
})

export const states = [
  demand("a queue pair begins in reset, and takes each transition in turn", function* () {
    const { a, b } = yield* apart({})
    for (const state of everyState) yield* at(state, a, b)
  }),

  demand("a transition that is not the next one is refused, and changes nothing", function* () {
    const { a, b } = yield* apart({})
    for (const from of everyState) {
      for (const to of everyState) {
        const queuePair = yield* at(from, a, b)
        const failure = yield* failureOf(queuePair.modify(stepTo(to, b)))
        const isLegal = canTransition(from, to)
        const what = `from ${from} to ${to}`
        yield* same(failure, isLegal ? "nothing" : "IllegalTransition", what)
        yield* same(queuePair.state, isLegal ? to : from, `state after the step ${what}`)
      }
    }
  }),

  demand("an attribute out of its range is refused, and changes nothing", function* () {
    const { a, b } = yield* apart({})
    const steps: ReadonlyArray<readonly [State, Transition]> = [
      ["reset", { to: "init", port: 200 }],
      ["init", { ...stepTo("rtr", b), peer: 0x100_0000 } as Transition],
      ["init", { ...stepTo("rtr", b), mtu: 1500 } as unknown as Transition],
      ["init", { ...stepTo("rtr", b), path: { gid: "0".repeat(32) } } as Transition],
      ["rtr", { to: "rts", retries: 8 }],
      ["rtr", { to: "rts", timeout: 1.5 }]
    ]
    for (const [from, step] of steps) {
      const queuePair = yield* at(from, a, b)
      yield* same(yield* failureOf(queuePair.modify(step)), "InvalidAttribute", `to ${step.to}`)
      yield* same(queuePair.state, from, "state")
    }
  }),

  demand("sends are accepted from rts on, receives from init on", function* () {
    const { a, b } = yield* apart({})
    const expected: Record<Exclude<State, "rts">, ReadonlyArray<string>> = {
      reset: ["wrong-state", "wrong-state"],
      init: ["wrong-state", "accepted"],
      rtr: ["wrong-state", "accepted"],
      err: ["accepted", "accepted"]
    }
    for (const [state, posted] of Object.entries(expected)) {
      const queuePair = yield* at(state as State, a, b)
      const send = queuePair.post(work(a, { length: 8 }))
      const receive = queuePair.postReceive(toReceive(a, 1))
      yield* same([send, receive], posted, `a send and a receive in ${state}`)
    }
  }),

  demand("a queue pair that was reset can be connected again", function* () {
    const { a, b } = yield* apart({})
    for (const round of [1, 2, 3]) {
      yield* receive(b, round)
      yield* Effect.all([toReady(a, b), toReady(b, a)])
      yield* post(a, work(a, { id: round, length: 16 }))
      yield* ended(a, { id: round, status: "success" })
      yield* ended(b, { id: round, status: "success" })
      for (const { queuePair } of [a, b]) yield* queuePair.modify({ to: "err" })
      for (const { queuePair } of [a, b]) {
        yield* queuePair.modify({ to: "reset" })
        yield* queuePair.modify({ to: "init" })
      }
    }
  })
]
