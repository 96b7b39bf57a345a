/**
 * Goal: what an actor does for a caller is found in the caller's trace, and in nobody else's.
 * Method: a behavior whose reactions open spans and note their annotations, under a tracer that
 * keeps every span.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { beginning, type Cell, Envelope } from "../../../src/actors/kernel/internal/cell.ts"
import { envelopeFrom, withoutSpan } from "../../../src/actors/kernel/internal/tracing.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Supervisor from "../../../src/actors/kernel/Supervisor.ts"

const Named = { payload: { name: Schema.String } }
const Did = Schema.TaggedStruct("Did", { name: Schema.String })

interface Again {
  readonly _tag: "Again"
  readonly name: string
}

interface Seen {
  /** The events that the snapshot policy was asked about. */
  readonly asked: Array<unknown>
  /** The log annotations of each reaction, by its name. */
  readonly annotations: Map<string, Readonly<Record<string, unknown>>>
  readonly spans: Array<Tracer.Span>
}

/** "hold" puts everything aside until "go"; "later" does its work by a signal. */
const worker = ({ annotations, asked }: Seen) =>
  Behavior.make("Worker", {
    commands: [Rpc.make("Do", Named), Rpc.make("Hold"), Rpc.make("Go")],
    signals: Behavior.signals<Again>(),
    events: Schema.Union([Did, Schema.TaggedStruct("Held", { held: Schema.Boolean })]),
    initial: { held: false },
    decide: {
      Do: ({ held }, { name }) => (held ? Decision.stash : Decision.persist(Did.make({ name }))),
      Hold: () => Decision.persist({ _tag: "Held", held: true } as const),
      Go: () => Decision.persist({ _tag: "Held", held: false } as const).pipe(Decision.thenUnstash),
      Again: (_, { name }) => Decision.persist(Did.make({ name }))
    },
    evolve: { Did: (state) => state, Held: (_, { held }) => ({ held }) },
    react: {
      Did: ({ name }, self) =>
        Effect.gen(function* () {
          annotations.set(name, yield* References.CurrentLogAnnotations)
          if (name === "later") yield* self.signal.Again({ name: "signalled" })
        }).pipe(Effect.withSpan(`reaction ${name}`))
    },
    snapshot: {
      state: Schema.Struct({ held: Schema.Boolean }),
      when: (_, event) => asked.push(event) === 0
    },
    start: () => Effect.void.pipe(Effect.withSpan("start"))
  })

const collecting = (spans: Array<Tracer.Span>) =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })

/** Runs a test with an actor that was spawned within a span. */
const traced = (
  test: (actor: Actor.Of<ReturnType<typeof worker>>, seen: Seen) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function* () {
    const seen: Seen = { annotations: new Map(), asked: [], spans: [] }
    const started = Actor.spawn(worker(seen), "w").pipe(
      Effect.annotateLogs({ service: "press" }),
      Effect.withSpan("start-up")
    )
    const run = Effect.flatMap(started, (actor) => test(actor, seen))
    yield* Effect.withTracer(run, collecting(seen.spans))
  }).pipe(Effect.scoped, Effect.provide(Journal.layerMemory))

const named = ({ spans }: Seen, name: string): Tracer.Span => {
  const span = spans.find((span) => span.name === name)
  assert.isDefined(span, `no span ${name}`)
  return span
}

const parentOf = (span: Tracer.Span): string | undefined =>
  Option.getOrUndefined(span.parent)?.spanId

describe("the reaction to an ask (K12)", () => {
  it.effect("has the caller's span as parent, and the caller's annotations", () =>
    traced(
      Effect.fnUntraced(function* (actor, seen) {
        yield* actor.ask
          .Do({ name: "a" })
          .pipe(
            Effect.annotateLogs({ request: 7 }),
            Effect.annotateSpans({ user: "ann" }),
            Effect.withSpan("call")
          )
        assert.strictEqual(parentOf(named(seen, "reaction a")), named(seen, "call").spanId)
        assert.strictEqual(named(seen, "reaction a").attributes.get("user"), "ann")
        assert.deepStrictEqual(seen.annotations.get("a"), { service: "press", request: 7 })
      })
    )
  )

  it.effect("is told from those of the same batch, also after the stash", () =>
    traced(
      Effect.fnUntraced(function* (actor, seen) {
        yield* actor.ask.Hold()
        const call = (name: string) => actor.ask.Do({ name }).pipe(Effect.withSpan(`call ${name}`))
        const plain = actor.ask.Do({ name: "c" })
        const calls = Effect.all([call("a"), plain, call("b")], { concurrency: "unbounded" })
        yield* Effect.all([calls, Effect.andThen(Effect.yieldNow, actor.ask.Go())], {
          concurrency: "unbounded"
        })
        for (const name of ["a", "b"]) {
          const reaction = named(seen, `reaction ${name}`)
          assert.strictEqual(parentOf(reaction), named(seen, `call ${name}`).spanId)
        }
        assert.strictEqual(parentOf(named(seen, "reaction c")), undefined)
      })
    )
  )
})

describe("what a supervisor started within a span runs (K12)", () => {
  it.effect("begins traces: its effects, and the reactions of its actors", () =>
    Effect.gen(function* () {
      const seen: Seen = { annotations: new Map(), asked: [], spans: [] }
      const ran = yield* Deferred.make<void>()
      const started = Effect.gen(function* () {
        const supervisor = yield* Supervisor.make()
        yield* supervisor.run("run", Effect.withSpan(Deferred.succeed(ran, undefined), "run"))
        return yield* supervisor.spawn(worker(seen), "w")
      })
      const program = Effect.gen(function* () {
        const actor = yield* Effect.withSpan(started, "start-up")
        yield* Deferred.await(ran)
        yield* actor.ask.Do({ name: "a" })
      })
      yield* Effect.withTracer(program, collecting(seen.spans))
      for (const name of ["run", "start", "reaction a"]) {
        assert.strictEqual(parentOf(named(seen, name)), undefined)
      }
    }).pipe(Effect.scoped, Effect.provide(Journal.layerMemory))
  )
})

describe("an event of a traced message (K12)", () => {
  it.effect("is shown to watchers and snapshot policies as it was decided", () =>
    traced(
      Effect.fnUntraced(function* (actor, seen) {
        const first = Stream.runCollect(Stream.take(actor.events, 1))
        const watching = yield* Effect.forkChild(first, { startImmediately: true })
        yield* Effect.withSpan(actor.ask.Do({ name: "a" }), "call")
        const event = Did.make({ name: "a" })
        assert.deepStrictEqual(yield* Fiber.join(watching), [event])
        assert.deepStrictEqual(seen.asked, [event])
      })
    )
  )
})

describe("what the start-up span has to do with an actor (K12)", () => {
  it.effect("nothing: reactions and start without a caller begin traces", () =>
    traced(
      Effect.fnUntraced(function* (actor, seen) {
        yield* actor.ask.Do({ name: "a" })
        assert.strictEqual(parentOf(named(seen, "reaction a")), undefined)
        assert.strictEqual(parentOf(named(seen, "start")), undefined)
        assert.deepStrictEqual(seen.annotations.get("a"), { service: "press" })
      })
    )
  )
})

describe("the reaction to a message that nobody waits for (K12)", () => {
  it.effect("begins a trace that is linked to the sender's span", () =>
    traced(
      Effect.fnUntraced(function* (actor, seen) {
        const both = Stream.runDrain(Stream.take(actor.events, 2))
        const worked = yield* Effect.forkChild(both, { startImmediately: true })
        yield* Effect.withSpan(actor.tell.Do({ name: "later" }), "sender")
        yield* Fiber.join(worked)
        const linked = (reaction: string, sender: string) => {
          const { links, parent } = named(seen, reaction)
          assert.isTrue(Option.isNone(parent))
          assert.deepStrictEqual(
            links.map(({ span }) => span.spanId),
            [named(seen, sender).spanId]
          )
        }
        linked("reaction later", "sender")
        linked("reaction signalled", "reaction later")
      })
    )
  )
})

describe("actors that are spawned within one span (K12)", () => {
  it("share the context that is left of it, so that an idle one owns none", () => {
    const span = Tracer.externalSpan({ spanId: "1", traceId: "2" })
    const context = Context.make(Tracer.ParentSpan, span)
    const left = withoutSpan(context)
    assert.isTrue(Option.isNone(Context.getOption(left, Tracer.ParentSpan)))
    assert.strictEqual(withoutSpan(context), left)
    assert.strictEqual(withoutSpan(Context.empty()), Context.empty())
  })
})

describe("a message from a fiber without a span (K12)", () => {
  it("takes as many bytes as one without tracing", () => {
    const module = fileURLToPath(new URL("../../fixtures/allocations.ts", import.meta.url))
    // So much room that no collection runs while the bytes are counted.
    const room = ["--min-semi-space-size=256", "--max-semi-space-size=256"]
    const printed = execFileSync(process.execPath, [...room, module], { encoding: "utf8" })
    const { plain, sent }: { plain: number; sent: number } = JSON.parse(printed)
    assert.isAbove(plain, 8)
    assert.isBelow(Math.abs(sent - plain), 8, `${sent} bytes instead of ${plain}`)
  }, 60_000)

  it.effect("carries nothing", () =>
    Effect.gen(function* () {
      const actor = { context: Context.empty() } as Cell
      const send = Effect.withFiber((fiber) =>
        Effect.succeed(envelopeFrom(fiber, actor, beginning, undefined, undefined, true))
      )
      const plain = yield* Effect.annotateLogs(send, { request: 7 })
      assert.strictEqual(Object.getPrototypeOf(plain), Envelope.prototype)
      assert.isDefined((yield* Effect.withSpan(send, "call")).context)
    })
  )
})
