/**
 * Goal: an event of a request is delivered although it comes just when the delivery of the one
 * before it ends.
 * Method: a session whose events come one by one while the fibers that deliver them are preempted
 * at any step. A delivery that marks itself as over in a later step than it looks for more events
 * leaves the last event behind.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import {
  ClientSession,
  type Delivery
} from "../../../src/actors/rpc/internal/protocol/clientSession.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"

const events = 20

describe("a session of a client", () => {
  it.sim("G18: delivers each event once, in order, however it is preempted", { seeds: 100 }, () =>
    Effect.gen(function* () {
      const session = new ClientSession(new Uint8Array(16))
      const pending = session.begin("#1", 0)
      const delivered: Array<bigint> = []
      const deliver = ({ number }: Delivery) =>
        Effect.andThen(
          Effect.void,
          Effect.sync(() => void delivered.push(number))
        )
      for (let number = 0n; number < events; number++) {
        const body = { _tag: "Whole", message: new Uint8Array(0) } as const
        pending.deliveries.push({ number, body })
        yield* Effect.forkScoped(session.deliver(pending, deliver), { startImmediately: true })
        yield* Effect.yieldNow
      }
      yield* Sim.eventually(() => delivered.length === events, "1 second", "all are delivered")
      assert.deepStrictEqual(
        delivered,
        Array.from({ length: events }, (_, index) => BigInt(index))
      )
    })
  )
})
