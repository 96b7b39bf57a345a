/** One writer at a time: a writer that was replaced cannot change history any more. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Journal } from "../src/actors/kernel/Journal.ts"

const opened = { type: "Opened", version: 1, body: '{"by":"ann"}', at: 0, tags: [] }

const program = Effect.gen(function* () {
  const journal = yield* Journal
  const first = yield* journal.claim("front door")
  yield* journal.append({ ...first, expected: first.last, events: [opened] })

  const second = yield* journal.claim("front door")
  const refused = yield* Effect.flip(journal.append({ ...first, expected: 1, events: [opened] }))
  yield* Console.log(refused.message) // front door: writer 1 was replaced by writer 2

  yield* journal.append({ ...second, expected: second.last, events: [opened] })
  const events = yield* Stream.runCollect(journal.read("front door"))
  yield* Console.log(events.map((event) => event.seq)) // [ 1, 2 ]
})

await Effect.runPromise(program.pipe(Effect.provide(Journal.layerMemory)))
