/**
 * Goal: whatever the faults, every ask ends once with an answer that the history justifies, a
 * recovered state is the fold of the stored events, what is shown is durable and never goes back,
 * two epochs of an actor are never held at once, no stale signal is decided, and when the faults
 * stop every actor answers and nothing is left.
 *
 * Method: a process with four accounts (account.ts) under two levels of supervisors (bank.ts) on an
 * asynchronous disk is crashed, paused and given bad disks at random moments, and another process
 * takes over one of its histories. What is stored and answered is noted outside of them
 * (witness.ts). The tests of the test plant known defects, and demand that the same program finds
 * each of them; `node scripts/plant.ts` plants more.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { Defects } from "../../../src/actors/kernel/internal/defects.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import { Chaos, Faults, FaultyJournal, Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"
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

const program = (defects: Defects) =>
  Effect.gen(function* () {
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
  }).pipe(Effect.provideService(Defects, defects))

describe("supervised actors under faults", () => {
  it.sim("S9: keep their word", { seeds: wideOr(300, 80), timeout: 300_000 }, () => program({}))
})

/** A process that soon comes to its end, with or without a crash before. */
const shortLife = Effect.gen(function* () {
  const { onDisk, witness } = yield* start
  const process = yield* Sim.process("server", onDisk(server(witness)))
  yield* Effect.sleep("60 millis")
  witness.isCalm = true
  yield* Effect.timeout(process.exit, "1 minute")
  assert.deepStrictEqual(witness.faults, [])
})

describe("the steps of a short run", () => {
  it("S9: survives a crash at every third of them", { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const calm = await Effect.runPromise(Sim.run(shortLife, { seed, plan: [] }))
      assert.isAbove(calm.steps, 200)
      for (let step = seed; step < calm.steps; step += 3) {
        const crash = { _tag: "Crash", process: "server", at: { step }, restartAfter: 5 } as const
        const run = await Effect.runPromise(Sim.run(shortLife, { seed, plan: [crash] }))
        assert.strictEqual(run.exit._tag, "Success", `crash at step ${step} of seed ${seed}`)
      }
    }
  })
})

describe("a planted defect is found", () => {
  for (const [name, defects, message] of [
    ["a reply before its events are durable", { replyEarly: true }, /not durable|stored 0 times/],
    [
      "going on after a failed append",
      { resumeAfterFailedAppend: true },
      /durable|is stored|is not number|go(es)? back/
    ],
    [
      "two generations alive at once",
      { overlapGenerations: true },
      /two epochs at once|are held after/
    ],
    ["a stale signal applied", { skipFence: true }, /a stale signal/]
  ] satisfies ReadonlyArray<readonly [string, Defects, RegExp]>) {
    it(`S9: ${name}`, { timeout: 60_000 }, async () => {
      const settings = { seeds: 50, shrinkAttempts: 0 }
      const { failure } = await Effect.runPromise(Sim.explore(program(defects), settings))
      assert.match(failure?.message ?? "50 seeds found nothing", message)
    })
  }
})
