/**
 * Goal: a client keeps as many calls in flight as it has credits, so a closed loop of callers gets
 * min(credits / round trip, service rate), the most that any client can get; and one more round
 * trip at the start, for the first grant, is all that a new connection costs.
 * Method: a fabric with a fixed round trip and a server of a fixed rate, on exact virtual time. The
 * twin has fewer callers than credits, and gets less.
 */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Procedure } from "../../../src/actors/rpc/RpcProgram.ts"
import type { RpcClient } from "../../../src/actors/rpc/RpcClient.ts"
import { it } from "../../../src/testing/vitest.ts"
import { makeWorld, procedures } from "./world.ts"

const settings = { seeds: 2, timerSlack: 0, shrinkAttempts: 0 } as const

/** Milliseconds of a round trip, and of a handler, of which so many run at once. */
const [roundTripMs, handlerMs, parallel] = [20, 1, 2]
/** Calls in a millisecond that the server can answer. */
const serviceRate = parallel / handlerMs

const noArgs = new Uint8Array(0)

const served = (): Procedure["handler"] => {
  const handlers = Semaphore.makeUnsafe(parallel)
  return ({ args }) =>
    handlers.withPermit(Effect.delay(Effect.succeed({ results: args }), handlerMs))
}

/** A client with credits for so many calls and one for control, and the fixed round trip. */
const world = Effect.fnUntraced(function* (calls: number) {
  const credits = calls === 1 ? 1 : calls + 1
  const most = { credits: 129, maxCredits: 129, maxHandlersPerClient: 512, maxConnections: 16 }
  const { client, fabric } = yield* makeWorld({
    client: { credits },
    server: most,
    custom: served()
  })
  yield* client.call({ procedure: procedures.echo, args: noArgs })
  for (const [from, to] of [
    ["client", "server"],
    ["server", "client"]
  ] as const) {
    fabric.strike({ _tag: "Delay", from, to, millis: roundTripMs / 2, forMillis: 3_600_000 })
  }
  return client
})

/** Calls in a millisecond of so many callers, each with one call in flight. */
const rateOf = (client: RpcClient, callers: number, calls: number) =>
  Effect.gen(function* () {
    let begun = 0
    const caller = Effect.whileLoop({
      while: () => begun++ < calls,
      body: () => client.call({ procedure: procedures.custom, args: noArgs }),
      step: () => undefined
    })
    const before = yield* Clock.currentTimeMillis
    yield* Effect.all(
      Array.from({ length: callers }, () => caller),
      { concurrency: "unbounded" }
    )
    return calls / ((yield* Clock.currentTimeMillis) - before)
  })

describe("calls a second over a fixed round trip", () => {
  for (const inFlight of [1, 2, 4, 8, 16, 32, 64, 128]) {
    it.sim(`are what ${inFlight} credits, or the server, allow`, settings, () =>
      Effect.gen(function* () {
        const client = yield* world(inFlight)
        const rate = yield* rateOf(client, inFlight, 30 * inFlight)
        const most = Math.min(inFlight / (roundTripMs + handlerMs), serviceRate)
        assert.isAtLeast(rate, 0.95 * most)
        assert.isAtMost(rate, 1.05 * most)
      })
    )
  }

  it.sim("are fewer with fewer callers than credits", settings, () =>
    Effect.gen(function* () {
      const client = yield* world(16)
      const rate = yield* rateOf(client, 8, 240)
      assert.isAtMost(rate, (0.6 * 16) / (roundTripMs + handlerMs))
    })
  )
})
