/** Demands on the end of a connection. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { same } from "../contract.ts"
import {
  apart,
  connect,
  connected,
  demand,
  ended,
  failed,
  post,
  receive,
  silent,
  work
} from "./rig.ts"

export const disconnecting = [
  demand("disconnecting ends both sides, once", function* () {
    const { a, ab, b, ba } = yield* connected()
    for (const local of [a, b]) yield* receive(local, 1)
    yield* ab.disconnect
    yield* same(yield* ab.disconnected, "disconnected", "the side that disconnected")
    yield* same(yield* ba.disconnected, "peer-disconnected", "the other side")
    for (const local of [a, b]) {
      yield* ended(local, { id: 1, status: "flushed" })
      yield* same(local.queuePair.state, "err", "state")
      yield* silent(local)
    }
    yield* ab.disconnect
    yield* ba.disconnect
    yield* same(yield* ab.disconnected, "disconnected", "still")
  }),

  demand("a connection ends with its Scope", function* () {
    const { a, b } = yield* apart({})
    const scope = yield* Scope.make()
    const { ba } = yield* Scope.provide(connect(a, b), scope)
    yield* Scope.close(scope, Exit.void)
    yield* ba.disconnected
    yield* failed(a)
    yield* failed(b)
  }),

  demand("a queue pair that fails ends its connection on both sides", function* () {
    const { a, ab, b, ba } = yield* connected()
    yield* receive(b, 1, 0, 8)
    yield* post(a, work(a, { length: 9 }))
    yield* Effect.all([ab.disconnected, ba.disconnected])
    yield* failed(a)
    yield* failed(b)
  }),

  demand("messages delivered before the end stay delivered", function* () {
    const { a, ab, b } = yield* connected()
    for (let id = 0; id < 10; id++) yield* receive(b, id)
    for (let id = 0; id < 10; id++) yield* post(a, work(a, { id, length: 8 }))
    for (let id = 0; id < 10; id++) yield* ended(a, { id, status: "success" })
    yield* ab.disconnect
    if (!a.capabilities.acknowledges) return
    for (let id = 0; id < 10; id++) yield* ended(b, { id, status: "success" })
  })
]
