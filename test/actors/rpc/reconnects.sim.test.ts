/**
 * Goal: clients that lost one server together come back spread over time, ever more rarely while
 * it is away, and a server that accepts and answers nothing is not called without a brake.
 * Method: many clients on a simulated fabric with exact timers; the times of their attempts.
 */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { it } from "../../../src/testing/vitest.ts"
import { makeWorld, program } from "./world.ts"

const settings = { seeds: 2, timerSlack: 0, shrinkAttempts: 0 } as const

/** Times at which a client begins to connect, in milliseconds. */
const attemptsOf = Effect.fnUntraced(function* (client: RpcClient.RpcClient) {
  const times: Array<number> = []
  yield* client.states.pipe(
    Stream.runForEach(({ _tag }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (_tag === "Connecting") times.push(now)
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  return times
})

const [FIRST, LONGEST] = [50, 2_000]

describe("reconnecting", () => {
  it.sim("C2: is spread over clients that lost one server together", settings, () =>
    Effect.gen(function* () {
      const { fabric, server } = yield* makeWorld()
      const count = 32
      const clients = yield* Effect.forEach(Array.from({ length: count }), (_, index) =>
        RpcClient.make({
          to: server.address,
          program,
          version: 1,
          firstPauseMs: FIRST,
          longestPauseMs: LONGEST,
          connectWithinMs: 1
        }).pipe(Effect.provide(SimVerbs.layer(fabric, { host: `client ${index}` })))
      )
      const all = yield* Effect.forEach(clients, attemptsOf)
      yield* Effect.sleep("1 second")
      const lostAt = yield* Clock.currentTimeMillis
      fabric.strike({ _tag: "DeviceRemoval", node: "server", forMillis: 60_000 })
      yield* Effect.forEach(clients, ({ reconnect }) => reconnect, { concurrency: "unbounded" })
      yield* Effect.sleep("20 seconds")
      const later = all.map((times) => times.filter((time) => time >= lostAt))
      for (const times of later) {
        const pauses = times.slice(1).map((time, index) => time - times[index]!)
        // Each wait is at least twice the one before, less its jitter, up to the cap.
        for (const [index, pause] of pauses.entries()) {
          assert.isAtLeast(pause, Math.min(FIRST * 2 ** (index + 1), LONGEST / 1.25) - 1)
          assert.isAtMost(pause, LONGEST + 10)
        }
        assert.isAtLeast(times.length, 8)
        assert.isAtMost(times.length, 18)
      }
      // In each tenth of the second in which the fifth attempts come: no herd.
      const fifth = later.map((times) => times[4]! - lostAt).toSorted((a, b) => a - b)
      const width = (fifth.at(-1)! - fifth[0]!) / 10
      const herd = fifth.map((from) => fifth.filter((at) => at >= from && at < from + width).length)
      assert.isAtLeast(10 * width, FIRST * 2)
      assert.isAtMost(Math.max(...herd), count / 2.5)
    })
  )

  it.sim("C2: is not hurried by a server that accepts and hangs up", settings, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const device = yield* Effect.provide(
        Effect.flatMap(Verbs, (verbs) => verbs.open()),
        SimVerbs.layer(fabric, { host: "server" })
      )
      const domain = yield* device.protectionDomain
      const completions = yield* device.completionQueue(16)
      const listener = yield* device.listen()
      let accepted = 0
      const hangUp = Effect.scoped(
        Effect.gen(function* () {
          const request = yield* listener.take
          const queuePair = yield* domain.queuePair({
            sendCompletions: completions,
            sendDepth: 1,
            receiveDepth: 1
          })
          yield* queuePair.modify({ to: "init", access: [] })
          yield* request.accept({ queuePair, rnrRetries: 7 })
          accepted++
        })
      )
      yield* Effect.forkScoped(Effect.forever(Effect.ignore(hangUp)))
      yield* Effect.provide(
        RpcClient.make({
          to: listener.address,
          program,
          version: 1,
          firstPauseMs: FIRST,
          longestPauseMs: LONGEST
        }),
        SimVerbs.layer(fabric, { host: "client" })
      )
      yield* Effect.sleep("10 seconds")
      // Pauses of 50, 100, ... 1600 and then 2000 milliseconds at most.
      assert.isAtLeast(accepted, 7)
      assert.isAtMost(accepted, 12)
    })
  )
})
