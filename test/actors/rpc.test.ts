/**
 * Goal: one declaration of commands serves a local actor and a remote one. Method: an actor behind
 * Effect's in-memory RPC, which encodes and decodes what crosses it.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as RpcTest from "effect/rpc/RpcTest"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import * as ActorRpc from "../../src/actors/kernel/ActorRpc.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
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
