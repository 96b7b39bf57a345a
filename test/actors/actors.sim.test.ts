/**
 * Goal: whatever the faults, an acknowledged command is in the journal once, a snapshot holds the
 * state of its event, two generations of an actor never live at once, no stale timer changes a
 * state, and work goes on when the faults stop.
 *
 * Method: a process with two supervised actors is crashed, paused and given a bad disk at random
 * moments, under 2,000 seeds; what it acknowledged is noted outside of it. The tests of the test
 * plant four known defects and demand that the same program finds each of them.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../src/actors/kernel/Decision.ts"
import { Defects } from "../../src/actors/kernel/internal/defects.ts"
import { makeMemory } from "../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../src/actors/kernel/Supervisor.ts"
import { Epoch } from "../../src/schema/Epoch.ts"
import { Chaos, Faults, FaultyJournal, Sim } from "../../src/testing/index.ts"
import { it } from "../../src/testing/vitest.ts"

const Deposit = Rpc.make("Deposit", { payload: { op: Schema.Int }, success: Schema.Int })
const Reopen = Rpc.make("Reopen")

const Opened = Schema.TaggedStruct("Opened", { epoch: Epoch })
const Deposited = Schema.TaggedStruct("Deposited", { op: Schema.Int })
const Ticked = Schema.TaggedStruct("Ticked", { of: Epoch })

interface Elapsed {
  readonly _tag: "Elapsed"
  readonly of: Epoch
}

const State = Schema.Struct({ epoch: Epoch, count: Schema.Int, ticks: Schema.Int })
type State = typeof State.Type

/** What is known outside of the process: the witnesses of a run. */
class Witness {
  readonly acknowledged: Array<{ readonly actor: string; readonly op: number }> = []
  overlaps = 0
  staleTimers = 0
  nextOp = 1
}

/** One life of the process: how many epochs of each actor hold their resource. */
const account = (witness: Witness, alive: Map<string, number>) =>
  Behavior.make("Account", {
    commands: [Deposit, Reopen],
    signals: Behavior.signals<Elapsed>(),
    events: Schema.Union([Opened, Deposited, Ticked]),
    initial: { epoch: "00000000.0" as Epoch, count: 0, ticks: 0 } as State,
    epoch: (state) => state.epoch,
    reconcile: (_, __, { fresh }) => Decision.persist(Opened.make({ epoch: fresh() })),
    decide: {
      Deposit: (_, { op }) =>
        Decision.persist(Deposited.make({ op })).pipe(
          Decision.thenReply((state: State) => state.count)
        ),
      Reopen: (_, __, { fresh }) => Decision.persist(Opened.make({ epoch: fresh() })),
      Elapsed: (state, { of }) => {
        if (of !== state.epoch) witness.staleTimers++
        return Decision.persist(Ticked.make({ of }))
      }
    },
    evolve: {
      Opened: (state, { epoch }) => ({ ...state, epoch }),
      Deposited: (state) => ({ ...state, count: state.count + 1 }),
      Ticked: (state) => ({ ...state, ticks: state.ticks + 1 })
    },
    writtenBehind: ["Ticked"],
    passivateAfter: "150 millis",
    snapshot: { state: State, every: 5, keep: 2 },
    react: {
      Opened: ({ epoch }, self) => {
        const hold = Effect.sync(() => {
          const holders = (alive.get(self.id) ?? 0) + 1
          alive.set(self.id, holders)
          if (holders > 1) witness.overlaps++
        })
        const letGo = Effect.sync(() => alive.set(self.id, (alive.get(self.id) ?? 1) - 1))
        // The timer is out of the reach of the epoch's Scope, as one of the kernel's would be.
        const timer = Effect.forkDetach(
          Effect.delay(Effect.ignore(self.signal.Elapsed({ of: epoch })), "700 millis")
        )
        return Effect.acquireRelease(hold, () => Effect.andThen(Effect.sleep(50), letGo)).pipe(
          Effect.andThen(timer)
        )
      }
    }
  })

/** Deposits and reopens for ever; what is acknowledged, the witness hears of. */
const client = Effect.fnUntraced(function* (
  actor: Actor.Of<ReturnType<typeof account>>,
  witness: Witness
) {
  while (true) {
    const op = witness.nextOp++
    const answer = yield* Effect.exit(actor.ask.Deposit({ op }))
    if (answer._tag === "Success") witness.acknowledged.push({ actor: actor.address, op })
    yield* Effect.sleep(op % 7 === 0 ? 300 : 20)
    if (op % 5 === 0) yield* Effect.ignore(actor.tell.Reopen())
  }
})

const server = Effect.fnUntraced(function* (witness: Witness) {
  const supervisor = yield* Supervisor.make({
    strategy: "one-for-all",
    restarts: { max: 1000, within: "1 minute" },
    backoff: Schedule.spaced("100 millis")
  })
  const Account = account(witness, new Map())
  const a = yield* supervisor.spawn(Account, "a")
  const b = yield* supervisor.spawn(Account, "b")
  yield* Effect.all([client(a, witness), client(a, witness), client(b, witness)], {
    concurrency: "unbounded"
  })
})

/**
 * What is wrong with the histories: acknowledged operations that are not stored exactly once, and
 * snapshots from which a recovery would count an event twice or never.
 */
const audit = Effect.fnUntraced(function* (store: Store, witness: Witness) {
  const seen = new Map<string, number>()
  const wrong: Array<string> = []
  for (const actor of ["Account/a", "Account/b"]) {
    const events = yield* Stream.runCollect(store.read(actor))
    for (const { body } of events) {
      const key = `${actor} ${(JSON.parse(body) as { op?: number }).op}`
      seen.set(key, (seen.get(key) ?? 0) + 1)
    }
    const snapshot = Option.getOrUndefined(yield* store.loadSnapshot(actor))
    if (snapshot === undefined) continue
    const { seq } = snapshot
    const counted = (type: string) =>
      events.filter((event) => event.seq <= seq && event.type === type).length
    const { count, ticks } = JSON.parse(snapshot.body) as State
    if (count !== counted("Deposited") || ticks !== counted("Ticked")) {
      wrong.push(`the snapshot of ${actor} at ${seq} holds another state`)
    }
  }
  for (const { actor, op } of witness.acknowledged) {
    const times = seen.get(`${actor} ${op}`) ?? 0
    if (times !== 1) wrong.push(`${op} of ${actor} is stored ${times} times`)
  }
  return wrong
})

const program = (defects: Defects) =>
  Effect.gen(function* () {
    const witness = new Witness()
    const memory = makeMemory()
    const disk = FaultyJournal.make(memory)
    yield* Sim.invariant("one generation at a time", () => witness.overlaps === 0)
    yield* Sim.invariant("no stale timer", () => witness.staleTimers === 0)
    const process = yield* Sim.process(
      "server",
      Effect.provideService(server(witness), Journal, disk),
      {
        onFailure: { restartAfter: "200 millis" }
      }
    )
    yield* Faults.random({ crash: "server", pause: "server", journal: true, within: "5 seconds" })
    yield* Effect.sleep("6 seconds")
    yield* Faults.heal
    const before = witness.acknowledged.length
    yield* Sim.eventually(() => witness.acknowledged.length > before + 10, "30 seconds", "deposits")
    yield* process.crash
    const wrong = yield* audit(memory, witness)
    if (wrong.length > 0) return yield* Effect.die(wrong.join("; "))
    yield* Chaos.sometimes("many acknowledgements", witness.acknowledged.length > 100)
    return witness.acknowledged.length
  }).pipe(Effect.provideService(Defects, defects))

describe("supervised actors under faults", () => {
  it.sim(
    "every acknowledged command is in the journal once",
    { seeds: 2000, timeout: 300_000 },
    () => program({})
  )
})

/** Two deposits in each of several short lives; a life ends by a stop or by its Scope. */
const shortLives = (witness: Witness, store: Store, lifeMillis: number) =>
  Effect.gen(function* () {
    for (let life = 0; life < 4; life++) {
      yield* Effect.gen(function* () {
        const supervisor = yield* Supervisor.make()
        const actor = yield* supervisor.spawn(account(witness, new Map()), "a")
        yield* Effect.forkScoped(client(actor, witness))
        yield* Effect.sleep(lifeMillis)
        if (life % 2 === 0) yield* actor.stop
      }).pipe(Effect.scoped)
    }
  }).pipe(Effect.provideService(Journal, store))

const auditedLives = (lifeMillis: number) =>
  Effect.gen(function* () {
    const witness = new Witness()
    const memory = makeMemory()
    const disk = FaultyJournal.make(memory)
    yield* Sim.invariant("one generation at a time", () => witness.overlaps === 0)
    const process = yield* Sim.process("server", shortLives(witness, disk, lifeMillis))
    yield* process.exit
    const wrong = yield* audit(memory, witness)
    if (wrong.length > 0) return yield* Effect.die(wrong.join("; "))
  })

describe("every step of a short run", () => {
  it("survives a crash at each of them", { timeout: 60_000 }, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const calm = await Effect.runPromise(Sim.run(auditedLives(200), { seed, plan: [] }))
      assert.isAbove(calm.steps, 50)
      for (let step = 1; step < calm.steps; step++) {
        const crash = { _tag: "Crash", process: "server", at: { step }, restartAfter: 5 } as const
        const run = await Effect.runPromise(Sim.run(auditedLives(200), { seed, plan: [crash] }))
        assert.strictEqual(run.exit._tag, "Success", `crash at step ${step} of seed ${seed}`)
      }
    }
  })

  it.sim("ends in order at any moment, by a stop or by its Scope", { seeds: 300 }, () =>
    Effect.flatMap(Random.nextIntBetween(1, 200), auditedLives)
  )
})

describe("a planted defect is found", () => {
  for (const [name, defects, message] of [
    ["a reply before its events are durable", { replyEarly: true }, /is stored 0 times/],
    ["going on after a failed append", { resumeAfterFailedAppend: true }, /is stored 0 times/],
    ["two generations alive at once", { overlapGenerations: true }, /one generation at a time/],
    ["a stale timer applied", { skipFence: true }, /no stale timer/]
  ] satisfies ReadonlyArray<readonly [string, Defects, RegExp]>) {
    it(name, { timeout: 60_000 }, async () => {
      const settings = { seeds: 500, shrinkAttempts: 30 }
      const { failure } = await Effect.runPromise(Sim.explore(program(defects), settings))
      assert.match(failure?.message ?? "500 seeds found nothing", message)
    })
  }
})
