/** Demands on failures: all posted work ends, once. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { same } from "../contract.ts"
import {
  completions,
  connected,
  demand,
  type End,
  end,
  post,
  receive,
  silent,
  toReceive,
  work
} from "./rig.ts"
import { Pair } from "./pair.ts"

/** Posts sends that cannot end yet, and receives. */
const fill = Effect.fnUntraced(function* (local: End) {
  for (let id = 0; id < 20; id++) yield* receive(local, 100 + id)
  for (let id = 0; id < 20; id++)
    yield* post(local, work(local, { id, signalled: false, length: 8 }))
})

const everyId = [
  ...Array.from({ length: 20 }, (_, id) => id),
  ...Array.from({ length: 20 }, (_, id) => 100 + id)
]

/** Checks that all of `fill` has ended once: with a completion, or without one if it succeeded. */
const emptied = Effect.fnUntraced(function* (local: End, what: string) {
  const { queuePair } = local
  while (queuePair.outstandingSends + queuePair.outstandingReceives > 0) {
    yield* Effect.sleep("1 millis")
  }
  const taken = yield* completions(local, local.completions.reserved)
  const ids = taken.map(({ id }) => id)
  yield* same(new Set(ids).size, ids.length, `${what}: ends that are told once`)
  const receives = ids.filter((id) => id >= 100).toSorted((a, b) => a - b)
  yield* same(receives, everyId.slice(20), `${what}: receives`)
  yield* same(
    taken.some(({ status }) => status === "success"),
    false,
    `${what}: good ends`
  )
  yield* silent(local)
  yield* same(local.completions.reserved, 0, `${what}: reserved completions`)
})

export const flushing = [
  demand("in err all posted work is flushed, in order", function* () {
    const { active } = yield* Pair
    const local = yield* end(active)
    for (const id of [1, 2, 3]) yield* receive(local, id)
    yield* local.queuePair.modify({ to: "err" })
    const ends = yield* completions(local, 3)
    yield* same(
      ends.map(({ id, status }) => [id, status]),
      [
        [1, "flushed"],
        [2, "flushed"],
        [3, "flushed"]
      ],
      "receives"
    )
    for (const id of [4, 5]) yield* post(local, work(local, { id, signalled: false }))
    yield* receive(local, 6)
    const later = yield* completions(local, 3)
    yield* same(
      later.map(({ id, status }) => [id, status]),
      [
        [4, "flushed"],
        [5, "flushed"],
        [6, "flushed"]
      ],
      "what was posted in err, signalled or not"
    )
    yield* silent(local)
  }),

  demand("a reset flushes too", function* () {
    const { active } = yield* Pair
    const local = yield* end(active)
    for (const id of [1, 2]) yield* receive(local, id)
    yield* local.queuePair.modify({ to: "reset" })
    const ends = yield* completions(local, 2)
    yield* same(
      ends.map(({ id, status }) => [id, status]),
      [
        [1, "flushed"],
        [2, "flushed"]
      ],
      "receives"
    )
  }),

  demand(
    "whatever ends a queue pair, its work ends once",
    function* () {
      for (const how of ["err", "disconnect", "peer's err", "peer's disconnect"]) {
        const { a, ab, b, ba } = yield* connected({}, { rnrRetries: 7 })
        yield* fill(a)
        if (how === "err") yield* a.queuePair.modify({ to: "err" })
        if (how === "disconnect") yield* ab.disconnect
        if (how === "peer's err") yield* b.queuePair.modify({ to: "err" })
        if (how === "peer's disconnect") yield* ba.disconnect
        yield* emptied(a, how)
      }
    },
    ["rnrRetries"]
  ),

  demand("work that is posted while all fails ends once", function* () {
    const { a, b, ba } = yield* connected({}, { rnrRetries: 7 })
    for (let id = 0; id < 50; id++) yield* receive(b, id)
    const cutting = yield* Effect.forkChild(Effect.andThen(Effect.yieldNow, ba.disconnect))
    const posted: Array<number> = []
    for (let id = 0; id < 50; id++) {
      if (a.queuePair.post(work(a, { id, length: 8 })) === "accepted") posted.push(id)
      yield* Effect.yieldNow
    }
    const ends = yield* completions(a, posted.length)
    yield* same(
      ends.map(({ id }) => id),
      posted,
      "ends"
    )
    yield* silent(a)
    yield* Effect.asVoid(Effect.exit(Effect.succeed(cutting)))
  }),

  demand("a queue pair that is released flushes into its completion queue", function* () {
    const { active } = yield* Pair
    const local = yield* end(active)
    const scope = yield* Scope.make()
    const sendCompletions = local.completions
    const queuePair = yield* Scope.provide(local.domain.queuePair({ sendCompletions }), scope)
    yield* queuePair.modify({ to: "init" })
    for (const id of [1, 2]) queuePair.postReceive(toReceive(local, id))
    yield* Scope.close(scope, Exit.void)
    const ends = yield* completions(local, 2)
    yield* same(
      ends.map(({ id, queuePair: number, status }) => [id, number, status]),
      [
        [1, queuePair.number, "flushed"],
        [2, queuePair.number, "flushed"]
      ],
      "receives"
    )
    yield* same(queuePair.postReceive(toReceive(local, 3)), "wrong-state", "a post after the end")
    yield* same(queuePair.post(work(local, {})), "wrong-state", "a send after the end")
    yield* same(local.completions.reserved, 0, "reserved completions")
  })
]
