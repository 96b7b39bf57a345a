/**
 * The programs of actors.sim.test.ts. They can be imported from a copy of the sources, so they use
 * no test framework.
 */
import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import { Chaos, Faults, FaultyJournal, Sim } from "../../../src/testing/index.ts"
import { rival, server } from "./bank.ts"
import { Witness } from "./witness.ts"

/** Answers some time after it has stored what it is given. */
const slow = (store: Store): Store => {
  const pause = Effect.flatMap(Random.nextIntBetween(0, 6), (millis) =>
    millis > 3 ? Effect.void : Effect.sleep(millis)
  )
  const slowly = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.andThen(pause, Effect.tap(effect, pause))
  return {
    ...store,
    claim: (actor) => slowly(store.claim(actor)),
    append: (request) => slowly(store.append(request)),
    saveSnapshot: (claim, snapshot) => slowly(store.saveSnapshot(claim, snapshot)),
    prune: (claim, limits) => slowly(store.prune(claim, limits))
  }
}

/** The witness of a run, and the disk that its processes share. */
const start = Effect.gen(function* () {
  const witness = new Witness()
  const disk = FaultyJournal.make(slow(witness.watched(makeMemory())))
  yield* Sim.invariant("the witness sees no fault", () => {
    if (witness.faults.length > 0) throw new Error(witness.faults.join("; "))
    return true
  })
  return { witness, onDisk: Effect.provideService(Journal, disk) }
})

/** Accounts under random faults. */
export const program = Effect.gen(function* () {
  const { onDisk, witness } = yield* start
  const process = yield* Sim.process("server", onDisk(server(witness)))
  yield* Faults.random({ crash: "server", pause: "server", journal: true, within: "800 millis" })
  yield* Effect.sleep(yield* Random.nextIntBetween(100, 800))
  const other = (yield* Random.nextBoolean)
    ? yield* Sim.process("rival", onDisk(rival(witness)))
    : undefined
  yield* Effect.sleep("400 millis")
  yield* Faults.heal
  if (other !== undefined) yield* other.exit
  witness.isCalm = true
  yield* Effect.timeout(process.exit, "1 minute")
  assert.deepStrictEqual(witness.faults, [])
  yield* Chaos.sometimes("many answers", witness.answers > 100)
})

/** A process that soon comes to its end, with or without a crash before. */
export const shortLife = Effect.gen(function* () {
  const { onDisk, witness } = yield* start
  const process = yield* Sim.process("server", onDisk(server(witness)))
  yield* Effect.sleep("60 millis")
  witness.isCalm = true
  yield* Effect.timeout(process.exit, "1 minute")
  assert.deepStrictEqual(witness.faults, [])
})
