/**
 * Goal: a card that is back gets work when all memory is registered on it, and not before: work
 * that names the regions of the device that is gone would be refused.
 * Method: the steps of `renew`, with memories and peers that note them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { RegisteredMemory } from "../../../src/actors/rdma/Memory.ts"
import type { NicScheduler } from "../../../src/actors/transfer/internal/nicScheduler.ts"
import { renew } from "../../../src/actors/transfer/internal/readying.ts"
import { InvalidAttribute } from "../../../src/native/verbs/VerbsError.ts"

/** What happens in which order when a card is back, of whose two memories one may be refused. */
const steps = Effect.fnUntraced(function* (refused?: string) {
  const seen: Array<string> = []
  const error = new InvalidAttribute({ operation: "register", attribute: "memory", detail: "no" })
  const nic = { path: "a@x", acknowledges: true, place: Effect.fail(error) }
  const scheduler = { index: 1, nic, isGone: true }
  const note = (what: string) => void seen.push(`${what}, ${scheduler.isGone ? "gone" : "there"}`)
  const memories = ["one", "two"].map((name) => {
    const renew = (card: number) =>
      Effect.suspend(() => {
        note(`${name} on ${card}`)
        return name === refused ? Effect.fail(error) : Effect.void
      })
    return [name, { renew }] as const
  })
  yield* renew(
    scheduler as unknown as NicScheduler,
    new Map(memories) as unknown as ReadonlyMap<string, RegisteredMemory>,
    () => note("work")
  )
  return seen
})

describe("a card whose device is back", () => {
  it.effect("R21: gets work after all memory is registered on it", () =>
    Effect.gen(function* () {
      const seen = yield* steps()
      assert.deepStrictEqual(seen, ["one on 1, gone", "two on 1, gone", "work, there"])
    })
  )

  it.effect("R21: gets no work if its device refuses a memory", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* steps("two"), ["one on 1, gone", "two on 1, gone"])
    })
  )
})
