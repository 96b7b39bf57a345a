/** Journals whose answers come at once, some steps later, or when the test lets them. */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import { type Append, StorageFailed } from "../../../src/schema/JournalRecord.ts"

const someSteps = Effect.repeat(Effect.yieldNow, { times: 3 })

const later = (store: Store): Store => ({
  ...store,
  append: (request) => Effect.ensuring(Effect.andThen(someSteps, store.append(request)), someSteps),
  saveSnapshot: (claim, snapshot) => Effect.andThen(someSteps, store.saveSnapshot(claim, snapshot))
})

/** Most journals are asynchronous; behind one that is not, mistakes in the order of steps hide. */
export const journals = [
  ["a synchronous journal", Journal.layerMemory],
  ["an asynchronous journal", Layer.sync(Journal, () => later(makeMemory()))]
] as const

export const failure = new StorageFailed({
  operation: "append",
  reason: "io",
  file: "memory",
  detail: "planted"
})

/** A journal in memory whose appends wait for a latch, or fail after they are let through. */
export const makeHeld = () => {
  const store = makeMemory()
  const latch = Latch.makeUnsafe(true)
  const faults: Array<StorageFailed> = []
  const appends: Array<Append> = []
  const journal: Store = {
    ...store,
    append: (request) =>
      Effect.suspend(() => {
        appends.push(request)
        const fault = faults.shift()
        return Effect.andThen(latch.await, fault ?? store.append(request))
      })
  }
  return { store, journal, latch, faults, appends }
}

/** Lets everything come to rest that needs no time to pass. */
export const settle = Effect.repeat(Effect.yieldNow, { times: 100 })

export const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.forkChild(effect, { startImmediately: true })
