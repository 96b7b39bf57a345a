/**
 * The programs of supervisors.sim.test.ts. They can be imported from a copy of the sources, so they
 * use no test framework.
 */
import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Rpc from "effect/rpc/Rpc"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"
import { StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { Chaos, Sim } from "../../../src/testing/index.ts"

const Work = Rpc.make("Work", { success: Schema.Int })
const Crash = Rpc.make("Crash", { payload: { how: Schema.Literals(["decide", "react"]) } })
const Worked = Schema.TaggedStruct("Worked", {})
const Broke = Schema.TaggedStruct("Broke", {})

/** What happened to one child. */
class Life {
  readonly name: string
  /** Generations that hold their resource. */
  alive = 0
  starts = 0
  crashes = 0

  constructor(name: string) {
    this.name = name
  }

  /** Releasing takes the time that the run has drawn. */
  hold(releaseMillis: number) {
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.alive++
        this.starts++
      }),
      () =>
        Effect.andThen(
          Effect.sleep(releaseMillis),
          Effect.sync(() => this.alive--)
        )
    )
  }

  readonly crash = (): void => void this.crashes++
}

/** A supervisor of the tree and its children, in the order of their start. */
interface Family {
  readonly strategy: NonNullable<Supervisor.Options["strategy"]>
  readonly supervisor: Supervisor.Supervisor
  readonly lives: ReadonlyArray<Life>
}

class Witness {
  readonly families: Array<Family> = []
  readonly lives = new Map<string, Life>()
  asksUnderWay = 0
  calm = false
  /**
   * The longest that a write, a release or a backoff takes. With 0 everything happens in one moment
   * and only the order of steps decides what comes first.
   */
  readonly slowest: number

  constructor(slowest: number) {
    this.slowest = slowest
  }

  life(name: string): Life {
    const life = new Life(name)
    this.lives.set(name, life)
    return life
  }

  /** Starts beyond those that crashes and starts of the supervisor explain. */
  get surplus(): ReadonlyArray<string> {
    return this.families.flatMap(({ lives, strategy, supervisor }) => {
      const begun = supervisor["~handfast/actors/Supervisor"].generation
      return lives.flatMap((life, index) => {
        const causes =
          strategy === "one-for-one"
            ? [life]
            : strategy === "one-for-all"
              ? lives
              : lives.slice(0, index + 1)
        const most = causes.reduce((sum, { crashes }) => sum + crashes, begun)
        return life.starts > most ? [`${life.name} started ${life.starts} times of ${most}`] : []
      })
    })
  }
}

const worker = (witness: Witness) =>
  Behavior.make("Worker", {
    commands: [Work, Crash],
    events: Schema.Union([Worked, Broke]),
    initial: { done: 0 },
    onDefect: "crash",
    decide: {
      Work: () =>
        Decision.persist(Worked.make({})).pipe(
          Decision.thenReply((state: { done: number }) => state.done)
        ),
      Crash: (_, { how }, { id }) => {
        if (how === "react") return Decision.persist(Broke.make({}))
        witness.lives.get(id)?.crash()
        throw new Error("told to crash")
      }
    },
    evolve: { Worked: ({ done }) => ({ done: done + 1 }), Broke: (state) => state },
    react: {
      Broke: (_, { id }) => {
        witness.lives.get(id)?.crash()
        return Effect.fail("told to crash")
      }
    },
    start: (_, { id }) => witness.lives.get(id)?.hold(witness.slowest / 2) ?? Effect.void
  })

type Worker = Actor.Of<ReturnType<typeof worker>>

/** Slow, and failing now and then until all is calm. A failure crashes the actor it happens to. */
const journal = (witness: Witness) => {
  const store = makeMemory()
  const disturbed = <A, E>(
    actor: string,
    operation: "append" | "claim",
    effect: Effect.Effect<A, E>
  ) =>
    Effect.gen(function* () {
      yield* Effect.sleep(yield* Random.nextIntBetween(0, witness.slowest + 1))
      const fails = !witness.calm && (yield* Random.next) < 0.05
      if (!fails) return yield* effect
      witness.lives.get(actor.slice("Worker/".length))?.crash()
      return yield* new StorageFailed({ operation, reason: "io", file: "memory", detail: "drawn" })
    })
  return Journal.of({
    ...store,
    claim: (actor) => disturbed(actor, "claim", store.claim(actor)),
    append: (request) => disturbed(request.actor, "append", store.append(request))
  })
}

/** Works and crashes at random. Every ask must end. */
const client = Effect.fnUntraced(function* (witness: Witness, actor: Worker) {
  const asked = <A, E>(ask: Effect.Effect<A, E>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => witness.asksUnderWay++),
      () => Effect.exit(ask),
      () => Effect.sync(() => witness.asksUnderWay--)
    )
  while (!witness.calm) {
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 300))
    const kind = yield* Random.nextIntBetween(0, 4)
    if (kind === 0) yield* asked(actor.ask.Crash({ how: "decide" }))
    else if (kind === 1) yield* asked(actor.ask.Crash({ how: "react" }))
    else yield* asked(actor.ask.Work())
  }
})

/** A supervisor with two actors and an effect between them. */
const family = Effect.fnUntraced(function* (
  witness: Witness,
  name: string,
  strategy: Family["strategy"],
  parent: Supervisor.Supervisor
) {
  const supervisor = yield* Supervisor.make({
    strategy,
    parent,
    restarts: { max: 2, within: "200 millis" },
    backoff: Schedule.spaced(2 * witness.slowest)
  })
  const [first, effect, last] = ["1", "2", "3"].map((part) => witness.life(`${name}${part}`))
  if (first === undefined || effect === undefined || last === undefined) return []
  witness.families.push({ strategy, supervisor, lives: [first, effect, last] })
  const Worker = worker(witness)
  const spawn = (id: string) =>
    Effect.retry(supervisor.spawn(Worker, id), Schedule.spaced("10 millis"))
  const a = yield* spawn(first.name)
  const fails = Effect.gen(function* () {
    yield* effect.hold(witness.slowest / 2)
    yield* Effect.sleep(yield* Random.nextIntBetween(100, 2000))
    if (witness.calm) return yield* Effect.never
    effect.crash()
    return yield* Effect.fail("drawn")
  })
  yield* Effect.retry(supervisor.run(effect.name, fails), Schedule.spaced("10 millis"))
  const b = yield* spawn(last.name)
  return [a, b]
})

const tree = Effect.fnUntraced(function* (witness: Witness) {
  const root = yield* Supervisor.make({
    strategy: yield* Effect.map(
      Random.nextIntBetween(0, 3),
      (n) => (["one-for-one", "one-for-all", "rest-for-one"] as const)[n] ?? "one-for-one"
    ),
    restarts: { max: 1_000_000, within: "1 second" },
    backoff: Schedule.spaced(5 * witness.slowest)
  })
  const one = yield* family(witness, "one", "one-for-one", root)
  const all = yield* family(witness, "all", "one-for-all", root)
  const middle = yield* Supervisor.make({
    strategy: "one-for-all",
    parent: root,
    restarts: { max: 2, within: "1 second" },
    backoff: Schedule.spaced(witness.slowest)
  })
  const rest = yield* family(witness, "rest", "rest-for-one", middle)
  const deep = yield* family(witness, "deep", "one-for-all", middle)
  return { root, actors: [...one, ...all, ...rest, ...deep] }
})

/** Half of the runs take no time for anything. */
const makeWitness = Effect.map(Random.nextBoolean, (slow) => new Witness(slow ? 10 : 0))

/** Crashes for some seconds, then calm, then the end of the Scope. */
export const program = Effect.gen(function* () {
  const witness = yield* makeWitness
  const lives = () => [...witness.lives.values()]
  yield* Sim.invariant("one generation at a time", () => lives().every(({ alive }) => alive <= 1))
  yield* Sim.invariant("no crash is answered twice", () => witness.surplus.length === 0)
  const scope = yield* Scope.make()
  const { actors, root } = yield* tree(witness).pipe(
    Scope.provide(scope),
    Effect.provideService(Journal, journal(witness))
  )
  for (const actor of actors) yield* Effect.forkChild(client(witness, actor))
  yield* Effect.sleep("4 seconds")
  witness.calm = true
  yield* Sim.eventually(() => lives().every(({ alive }) => alive === 1), "1 minute", "all run")
  yield* Sim.eventually(() => witness.asksUnderWay === 0, "1 minute", "all asks end")
  for (const actor of actors) {
    yield* Effect.retry(actor.ask.Work(), { schedule: Schedule.spaced("100 millis"), times: 10 })
  }
  const given = witness.families.some(
    ({ supervisor }) => supervisor["~handfast/actors/Supervisor"].generation > 1
  )
  yield* Chaos.sometimes("a supervisor was started again", given)
  yield* Scope.close(scope, Exit.void)
  const left = lives().filter(({ alive }) => alive !== 0)
  assert.deepStrictEqual(left, [], "all is released when the Scope has closed")
  const started = lives().map(({ starts }) => starts)
  yield* Effect.sleep("1 minute")
  assert.deepStrictEqual(
    lives().map(({ starts }) => starts),
    started,
    "nothing starts after the Scope"
  )
  assert.strictEqual(root["~handfast/actors/Supervisor"].children.size, 0)
})

/** The Scope closes at any moment, also in the middle of a restart. */
export const cut = Effect.gen(function* () {
  const witness = yield* makeWitness
  const lives = () => [...witness.lives.values()]
  yield* Sim.invariant("one generation at a time", () => lives().every(({ alive }) => alive <= 1))
  const store = journal(witness)
  const scope = yield* Scope.make()
  const living = Effect.gen(function* () {
    const { actors } = yield* Scope.provide(tree(witness), scope)
    yield* Effect.forEach(actors, (actor) => client(witness, actor), { concurrency: "unbounded" })
  }).pipe(Effect.provideService(Journal, store), Effect.ignore)
  const fiber = yield* Effect.forkChild(living)
  yield* Effect.sleep(yield* Random.nextIntBetween(1, 3000))
  yield* Scope.close(scope, Exit.void)
  const started = lives().map(({ starts }) => starts)
  assert.deepStrictEqual(
    lives().filter(({ alive }) => alive !== 0),
    []
  )
  witness.calm = true
  yield* Effect.sleep("1 minute")
  assert.deepStrictEqual(
    lives().map(({ starts }) => starts),
    started
  )
  yield* Sim.eventually(() => witness.asksUnderWay === 0, "1 minute", "all asks end")
  fiber.interruptUnsafe()
})
