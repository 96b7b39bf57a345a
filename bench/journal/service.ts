/** The journal's own contestants: through the service, and through actors on top of it. */
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ACTORS, body, decode, withFile } from "./files.ts"
import { type Outcome, rate } from "../harness.ts"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../src/actors/kernel/Decision.ts"
import { Journal, type Store } from "../../src/actors/kernel/Journal.ts"

/** Makes a writer for one actor: an Effect that is done when one more event is stored. */
export type Writer = (
  journal: Store,
  index: number
) => Effect.Effect<Effect.Effect<unknown, unknown>, unknown, Journal | Scope.Scope>

export const names = Array.from({ length: ACTORS }, (_, index) => `actor ${index}`)

class Moved {
  readonly type = "Moved"
  readonly version = 1
  readonly at: number
  readonly body = body
  readonly tags: ReadonlyArray<string> = []
  constructor(at: number) {
    this.at = at
  }
}

/** Appends through the service, one event after the other. */
export const throughService: Writer = (journal, index) =>
  Effect.map(journal.claim(names[index]!), ({ actor, last, writer }) =>
    Effect.suspend(() =>
      journal.append({ actor, writer, expected: last++, events: [new Moved(last)] })
    )
  )

const Move = Rpc.make("Move", { success: Schema.Void })
const Slots = Schema.Array(Schema.Int)
const Event = Schema.TaggedStruct("Moved", {
  from: Schema.String,
  to: Schema.String,
  slots: Slots,
  note: Schema.String
})
const moved: typeof Event.Type = JSON.parse(body)

const Mover = Behavior.make("Mover", {
  commands: [Move],
  events: Event,
  initial: { count: 0 },
  decide: { Move: () => Decision.persist(moved) },
  evolve: { Moved: ({ count }) => ({ count: count + 1 }) }
})

/** Asks an actor that answers when its event is stored. */
export const throughActor: Writer = (_, index) =>
  Effect.map(Actor.spawn(Mover, names[index]!), (actor) => Effect.suspend(() => actor.ask.Move()))

/** All actors store their events at the same time, each one after the other. */
export const together = (
  writer: Writer,
  count: number
): Promise<{ append: Outcome; delay: Outcome }> =>
  withFile((file) =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const writers = yield* Effect.forEach(names, (_, index) => writer(journal, index), {
        concurrency: "unbounded"
      })
      const delays = monitorEventLoopDelay({ resolution: 1 })
      const run = (count: number) => {
        let stored = 0
        const one = Effect.fnUntraced(function* (append: Effect.Effect<unknown, unknown>) {
          for (let index = 0; index < count / ACTORS; index++) {
            yield* append
            stored++
          }
        })
        delays.enable()
        delays.reset()
        return Effect.runPromise(
          Effect.as(Effect.forEach(writers, one, { concurrency: "unbounded" }), 0)
        ).then(() => {
          delays.disable()
          return stored
        })
      }
      const append = yield* Effect.promise(() =>
        rate({ unit: "event/s", count, warmup: count / 2, run })
      )
      const delay = {
        value: delays.percentile(99) / 1e6,
        unit: "ms",
        completed: append.completed,
        expected: count
      }
      return { append, delay }
    }).pipe(Effect.scoped, Effect.provide(Journal.layerSqlite({ file })), Effect.runPromise)
  )

const readAll = (journal: Store, actor: string) =>
  Effect.suspend(() => {
    let read = 0
    return journal.read(actor).pipe(
      Stream.runForEachArray((events) =>
        Effect.sync(() => {
          for (const event of events) read += decode(event.body)
        })
      ),
      Effect.map(() => read)
    )
  })

/** Reads histories of so many events, interleaved with those of all others, 50 at a time. */
export const replay = (events: number, count: number): Promise<Outcome> =>
  withFile((file) =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const writers = yield* Effect.forEach(names, (_, index) => throughService(journal, index))
      for (let round = 0; round < events; round++) {
        yield* Effect.all(writers, { concurrency: "unbounded", discard: true })
      }
      const run = (count: number) =>
        Effect.runPromise(
          Effect.map(
            Effect.forEach(
              Array.from({ length: count / events }, (_, index) => names[index % ACTORS]!),
              (name) => readAll(journal, name),
              { concurrency: 50 }
            ),
            (sums) => sums.reduce((sum, read) => sum + read, 0)
          )
        )
      return yield* Effect.promise(() => rate({ unit: "event/s", count, run }))
    }).pipe(Effect.scoped, Effect.provide(Journal.layerSqlite({ file })), Effect.runPromise)
  )

/** Reads one history of so many events, alone in its file. */
export const replayAlone = (count: number): Promise<Outcome> =>
  withFile((file) =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const { actor, writer } = yield* journal.claim("a")
      for (let last = 0; last < count; last += 1000) {
        const events = Array.from({ length: 1000 }, (_, index) => new Moved(last + index))
        yield* journal.append({ actor, writer, expected: last, events })
      }
      const run = () => Effect.runPromise(readAll(journal, "a"))
      return yield* Effect.promise(() => rate({ unit: "event/s", count, run }))
    }).pipe(Effect.scoped, Effect.provide(Journal.layerSqlite({ file })), Effect.runPromise)
  )
