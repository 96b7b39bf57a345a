/**
 * Goal: a repair that replaces another one starts the children that the other had still to start.
 * Method: a parent starts a one-for-one supervisor again, one of whose children fails as it
 * begins. Whether the supervisor hears of that before its repair goes on to the next child is a
 * matter of steps, so many orders are tried.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"
import { immediately, worker } from "./family.ts"

const Touch = Rpc.make("Touch")
const Touched = Schema.TaggedStruct("Touched", {})

/** Fails as it begins, so many times as is still to come. */
const fragile = (failures: { left: number }) =>
  Behavior.make("Fragile", {
    commands: [Touch],
    events: Touched,
    initial: {},
    decide: { Touch: () => Decision.persist(Touched.make({})) },
    evolve: { Touched: (state) => state },
    start: () =>
      Effect.suspend(() =>
        failures.left-- > 0 ? Effect.die(new Error("cannot begin")) : Effect.void
      )
  })

const options = { backoff: immediately, restarts: { max: 50, within: "1 second" } } as const

/** Halts and starts a family whose second child fails once; then all three answer. */
const replaced = Effect.gen(function* () {
  const failures = { left: 0 }
  const Worker = worker([])
  const parent = yield* Supervisor.make({ ...options, strategy: "one-for-all" })
  const family = yield* Supervisor.make({ ...options, parent })
  const sibling = yield* parent.spawn(Worker, "sibling")
  const first = yield* family.spawn(Worker, "first")
  const second = yield* family.spawn(fragile(failures), "second")
  const third = yield* family.spawn(Worker, "third")
  failures.left = 1
  yield* Effect.exit(sibling.ask.Crash())
  yield* Effect.sleep("10 seconds")
  yield* Effect.timeout(
    Effect.all([first.ask.Work(), second.ask.Touch(), third.ask.Work()]),
    "1 second"
  )
  assert.isBelow(failures.left, 0, "the second child has failed and begun again")
}).pipe(Effect.provide(Journal.layerMemory))

describe("a repair that replaces another one", () => {
  it.sim(
    "starts the children that the other had still to start",
    { seeds: wideOr(400, 100), timeout: 60_000 },
    () => replaced
  )
})
