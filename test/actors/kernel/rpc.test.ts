/**
 * Goal: one declaration of commands serves a local actor and a remote one, streams included.
 * Method: actors behind Effect's in-memory RPC, which encodes and decodes what crosses it.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcTest from "effect/rpc/RpcTest"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as ActorRpc from "../../../src/actors/kernel/ActorRpc.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { Counter } from "./counter.ts"
import { AlreadyOpen, Door } from "./door.ts"

const Doors = ActorRpc.group(Door)

it.effect("a remote caller gets answers, the command's errors and the actor's", () =>
  Effect.gen(function* () {
    const door = yield* Actor.spawn(Door, "front")
    const remote = yield* RpcTest.makeClient(Doors).pipe(
      Effect.provide(ActorRpc.layer(Doors, door))
    )
    yield* remote.Open({ by: "ann" })
    const refused = yield* Effect.flip(remote.Open({ by: "ben" }))
    assert.deepStrictEqual(refused, new AlreadyOpen({ by: "ann" }))
    yield* remote.Close()
    assert.strictEqual(yield* remote.Visits(), 1)
    yield* door.stop
    const stopped = yield* Effect.flip(remote.Visits())
    assert.deepInclude(stopped, { _tag: "Stopped", reason: "stopped", outcome: "not-run" })
  }).pipe(Effect.provide(Journal.layerMemory))
)

class Empty extends Schema.TaggedError<Empty>()("Empty", {}) {}

const Log = Behavior.make("Log", {
  commands: [
    Rpc.make("Add", { payload: { line: Schema.String } }),
    Rpc.make("Lines", { success: Schema.String, error: Empty, stream: true })
  ],
  events: Schema.Union([Schema.TaggedStruct("Added", { line: Schema.String })]),
  initial: { lines: [] as ReadonlyArray<string> },
  decide: {
    Add: (_, { line }) => Decision.persist({ _tag: "Added", line } as const),
    Lines: ({ lines }) =>
      Decision.reply(lines.length === 0 ? Stream.fail(new Empty()) : Stream.fromIterable(lines))
  },
  evolve: { Added: ({ lines }, { line }) => ({ lines: [...lines, line] }) }
})

it.effect("K12: a command that answers with a stream streams to a remote caller", () =>
  Effect.gen(function* () {
    const Logs = ActorRpc.group(Log)
    const log = yield* Actor.spawn(Log, "main")
    const remote = yield* RpcTest.makeClient(Logs).pipe(Effect.provide(ActorRpc.layer(Logs, log)))
    const lines = Stream.runCollect(remote.Lines())
    assert.deepStrictEqual(yield* Effect.flip(lines), new Empty())
    yield* remote.Add({ line: "one" })
    yield* remote.Add({ line: "two" })
    assert.deepStrictEqual(yield* lines, ["one", "two"])
    yield* log.stop
    assert.deepInclude(yield* Effect.flip(lines), { _tag: "Stopped", outcome: "not-run" })
  }).pipe(Effect.provide(Journal.layerMemory))
)

it.effect("a remote caller is not told what a defect said, a local one is", () =>
  Effect.gen(function* () {
    const Counters = ActorRpc.group(Counter)
    const counter = yield* Actor.spawn(Counter, "a")
    const remote = yield* RpcTest.makeClient(Counters).pipe(
      Effect.provide(ActorRpc.layer(Counters, counter))
    )
    const seen = yield* Effect.flip(remote.Break({ how: "decide" }))
    assert.deepInclude(seen, { _tag: "Stopped", actor: "Counter/a", reason: "crashed", detail: "" })
    yield* counter.ended
    const after = yield* Effect.flip(remote.Get())
    assert.deepInclude(after, { _tag: "Stopped", reason: "crashed", detail: "" })
    assert.include((yield* counter.ended).detail, "decide broke")
    const local = yield* Effect.flip(counter.ask.Get())
    assert.include(local._tag === "Stopped" ? local.detail : "", "decide broke")
  }).pipe(Effect.provide(Journal.layerMemory))
)
