/**
 * Goal: however slow, mute or lost the peer is, calls end within stated bounds, each executed once.
 * Method: one client and one server on a simulated fabric, with exact timers; each bound is
 * compared with the virtual time that it took.
 */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { RpcClient } from "../../../src/actors/rpc/RpcClient.ts"
import type { MessagePort } from "../../../src/actors/rpc/internal/messagePort.ts"
import { Parts, parts } from "../../../src/actors/rpc/internal/parts.ts"
import { Requester } from "../../../src/actors/rpc/internal/requester.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeWorld, opaque, pattern, procedures } from "./world.ts"

const settings = { seeds: 3, timerSlack: 0, shrinkAttempts: 0 } as const

const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

/** Connection instances that a client has begun. */
const countEpochs = Effect.fnUntraced(function* (client: RpcClient) {
  const epochs = new Set<unknown>()
  yield* client.states.pipe(
    Stream.runForEach(({ _tag, epoch }) =>
      Effect.sync(() => _tag === "Connecting" || _tag === "Pausing" || epochs.add(epoch))
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  return epochs
})

const custom = (client: RpcClient, args = new Uint8Array(4)) =>
  client.call({ procedure: procedures.custom, args, maxResultBytes: 200_000 })

const millisOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    yield* effect
    return (yield* Clock.currentTimeMillis) - before
  })

const many = <A, E, R>(calls: number, call: (index: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    Array.from({ length: calls }, (_, index) => index),
    call,
    {
      concurrency: "unbounded"
    }
  )

describe("a lost connection", () => {
  it.sim("C1 G8: is made up for although the oldest call never ends", settings, () =>
    Effect.gen(function* () {
      const { client, executions, fabric } = yield* makeWorld({ client: { firstPauseMs: 50 } })
      const oldest = yield* Effect.forkChild(custom(client), { startImmediately: true })
      yield* Effect.sleep("10 millis")
      fabric.strike({ _tag: "Cut", from: "server", to: "client", forMillis: 20 })
      const calls = yield* Effect.forkChild(many(47, (index) => count(client, index)))
      yield* Effect.sleep("1 millis")
      yield* client.reconnect
      // The pause, a handshake through the cut, NULL, and one round of calls.
      const millis = yield* millisOf(Fiber.join(calls))
      assert.isAtMost(millis, 50 * 1.25 + 20 + 10)
      assert.isTrue([...executions.values()].every((times) => times === 1))
      assert.isUndefined(oldest.pollUnsafe())
      assert.strictEqual(fabric.rnrs, 0)
    })
  )

  it.sim("G3: does not interrupt a handler, which is joined by the same call", settings, () =>
    Effect.gen(function* () {
      let begun = 0
      const { client } = yield* makeWorld({
        custom: ({ args }) =>
          Effect.delay(Effect.succeed({ results: args }), "5 seconds").pipe(
            Effect.tap(() => Effect.void),
            (slow) =>
              Effect.andThen(
                Effect.sync(() => void begun++),
                slow
              )
          )
      })
      const calling = yield* Effect.forkChild(millisOf(custom(client)))
      for (let round = 0; round < 20; round++) {
        yield* Effect.sleep("200 millis")
        yield* client.reconnect
      }
      assert.isAtMost(yield* Fiber.join(calling), 5_010)
      assert.strictEqual(begun, 1)
      assert.deepStrictEqual(client.usage, free)
    })
  )

  it.sim("C4: leaves nothing behind, however often", settings, () =>
    Effect.gen(function* () {
      const { client, fabric } = yield* makeWorld({ client: { firstPauseMs: 1 } })
      yield* count(client, 0)
      const before = fabric.resources()
      for (let round = 1; round <= 30; round++) {
        yield* client.reconnect
        yield* count(client, round)
      }
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual(fabric.resources(), before)
      assert.deepStrictEqual(client.usage, free)
    })
  )
})

describe("a slow handler", () => {
  it.sim("G9: is waited for, on the same connection, and runs once", settings, () =>
    Effect.gen(function* () {
      let begun = 0
      const { client } = yield* makeWorld({
        client: { overdueAfterMs: 500, probeWithinMs: 500 },
        custom: ({ args }) =>
          Effect.suspend(() => {
            begun++
            return Effect.delay(Effect.succeed({ results: args }), "5 seconds")
          })
      })
      const epochs = yield* countEpochs(client)
      yield* custom(client)
      assert.strictEqual(begun, 1)
      assert.strictEqual(epochs.size, 1)
    })
  )

  it.sim("G9: with one credit leads to new connections, ever more rarely, and ends", settings, () =>
    Effect.gen(function* () {
      let begun = 0
      const { client } = yield* makeWorld({
        server: { credits: 1 },
        client: { overdueAfterMs: 100, firstPauseMs: 1 },
        custom: ({ args }) =>
          Effect.suspend(() => {
            begun++
            return Effect.delay(Effect.succeed({ results: args }), "5 seconds")
          })
      })
      const epochs = yield* countEpochs(client)
      yield* custom(client)
      assert.strictEqual(begun, 1)
      assert.isAtMost(epochs.size, 8)
    })
  )
})

describe("interrupted calls", () => {
  for (const credits of [1, 2, 64]) {
    it.sim(`G7: that never end make room for others with ${credits} credits`, settings, () =>
      Effect.gen(function* () {
        const { client, fabric } = yield* makeWorld({
          server: { credits },
          client: { zombieWithinMs: 300, firstPauseMs: 10 }
        })
        for (let round = 0; round < 40; round++) {
          const storm = yield* Effect.forkChild(custom(client), { startImmediately: true })
          yield* Effect.sleep("1 millis")
          yield* Fiber.interrupt(storm)
        }
        assert.isAtMost(yield* millisOf(count(client, 1)), 300 + 50)
        yield* Sim.eventually(() => client.usage.xids === 0, "1 second")
        assert.deepStrictEqual(client.usage, free)
        assert.strictEqual(fabric.rnrs, 0)
      })
    )
  }

  for (const credits of [1, 2, 64]) {
    it.sim(`G7: reach their handlers with ${credits} credits`, settings, () =>
      Effect.gen(function* () {
        let [begun, running] = [0, 0]
        const { client, fabric, server } = yield* makeWorld({
          server: { credits },
          client: { zombieWithinMs: 300, firstPauseMs: 1 },
          custom: () =>
            Effect.suspend(() => {
              begun++
              running++
              return Effect.never
            }).pipe(Effect.ensuring(Effect.sync(() => void running--)))
        })
        const epochs = yield* countEpochs(client)
        for (let round = 0; round < 20; round++) {
          const storm = many(10, () => Effect.timeoutOption(custom(client), "5 millis"))
          yield* storm
          assert.isAtMost(yield* millisOf(count(client, round)), credits === 1 ? 350 : 20)
        }
        const haveEnded = () => running === 0 && server.usage.handlers === 0
        yield* Sim.eventually(haveEnded, "1 second", "all handlers have ended")
        assert.isAtLeast(begun, 20)
        // With one credit there is none to tell the responder, but on a new connection.
        if (credits > 1) assert.strictEqual(epochs.size, 1)
        yield* Sim.eventually(() => client.usage.xids === 0, "1 second")
        assert.deepStrictEqual(client.usage, free)
        assert.strictEqual(fabric.rnrs, 0)
      })
    )
  }

  it.sim("G7: whose handlers never end leave no more of them than the limit", settings, () =>
    Effect.gen(function* () {
      let [begun, running, highest] = [0, 0, 0]
      const { client, executions, server } = yield* makeWorld({
        server: { credits: 2, maxCredits: 2, maxHandlersPerClient: 4 },
        client: { zombieWithinMs: 300, firstPauseMs: 1 },
        custom: () =>
          Effect.suspend(() => {
            begun++
            running++
            highest = Math.max(highest, running)
            return Effect.never
          }).pipe(Effect.ensuring(Effect.sync(() => void running--)))
      })
      for (let round = 0; round < 40; round++) {
        yield* Effect.timeoutOption(custom(client), "400 millis")
        // A call that was made in time is executed once, whatever was given up for it.
        assert.strictEqual(yield* count(client, round), 1)
      }
      assert.isAtLeast(begun, 20)
      assert.isAtMost(highest, 5)
      assert.isAtMost(server.usage.handlers, 4)
      assert.strictEqual(executions.size, 40)
    })
  )

  it.sim("G4: keep their memory until the responder has written it", settings, () =>
    Effect.gen(function* () {
      const data = pattern(100_000, 9)
      const { client } = yield* makeWorld({
        custom: () => Effect.delay(Effect.succeed({ results: opaque(data) }), "50 millis")
      })
      const epochs = yield* countEpochs(client)
      const given = yield* Effect.forkChild(custom(client), { startImmediately: true })
      yield* Effect.sleep("10 millis")
      yield* Fiber.interrupt(given)
      assert.isAbove(client.usage.lentBytes, 100_000)
      const others = yield* many(4, () => custom(client))
      for (const { results } of others)
        assert.deepStrictEqual(Uint8Array.from(results), opaque(data))
      yield* Effect.sleep("1 second")
      assert.deepStrictEqual(client.usage, free)
      assert.strictEqual(epochs.size, 1)
    })
  )
})

describe("grants", () => {
  it.sim("G24: that fall to 1 under 64 calls end none of them", settings, () =>
    Effect.gen(function* () {
      const { client, fabric, server } = yield* makeWorld({
        custom: ({ args }) => Effect.delay(Effect.succeed({ results: args }), "20 millis")
      })
      const epochs = yield* countEpochs(client)
      yield* count(client, 1)
      const calls = yield* Effect.forkChild(many(100, () => custom(client)))
      yield* Effect.sleep("5 millis")
      yield* server.setCredits(1)
      yield* Fiber.join(calls)
      yield* server.setCredits(64)
      yield* many(100, () => custom(client))
      assert.strictEqual(epochs.size, 1)
      assert.strictEqual(fabric.rnrs, 0)
    })
  )
})

describe("a server that is closed", () => {
  it.sim("G24: answers the calls that are running, and takes no more", settings, () =>
    Effect.gen(function* () {
      let begun = 0
      const { client, server } = yield* makeWorld({
        custom: ({ args }) =>
          Effect.suspend(() => {
            begun++
            return Effect.delay(Effect.succeed({ results: args }), "500 millis")
          })
      })
      const running = yield* Effect.forkChild(custom(client), { startImmediately: true })
      yield* Effect.sleep("100 millis")
      const closing = yield* Effect.forkChild(millisOf(server.close), { startImmediately: true })
      yield* Effect.forkScoped(custom(client))
      yield* Fiber.join(running)
      assert.isAtMost(yield* Fiber.join(closing), 410)
      assert.strictEqual(begun, 1)
    })
  )

  it.sim("G24: does not wait longer than its limit for a handler", settings, () =>
    Effect.gen(function* () {
      const { client, server } = yield* makeWorld({ server: { closeWithinMs: 300 } })
      yield* Effect.forkScoped(custom(client))
      yield* Effect.sleep("100 millis")
      assert.isAtMost(yield* millisOf(server.close), 310)
    })
  )
})

/** Receives are not accepted while `state.isFailing`, but for the first ones of a connection. */
const failingRefills = (state: { isFailing: boolean }): Parts => {
  class Failing extends Requester {
    override attach(port: MessagePort): boolean {
      const isAttached = super.attach(port)
      const post = port.postReceives.bind(port)
      port.postReceives = (count) => (state.isFailing ? 0 : post(count))
      return isAttached
    }
  }
  return { ...parts, requester: (around) => new Failing(around) }
}

describe("a refill that fails", () => {
  it.sim("A5: delays calls that wait, and stalls none", settings, () =>
    Effect.gen(function* () {
      const state = { isFailing: true }
      const { client, fabric } = yield* makeWorld({
        client: { overdueAfterMs: 500, probeWithinMs: 500 }
      }).pipe(Effect.provideService(Parts, failingRefills(state)))
      const epochs = yield* countEpochs(client)
      const calls = yield* Effect.forkChild(many(20, (index) => count(client, index)))
      yield* Effect.sleep("100 millis")
      assert.isUndefined(calls.pollUnsafe())
      state.isFailing = false
      assert.isAtMost(yield* millisOf(Fiber.join(calls)), 500)
      assert.strictEqual(epochs.size, 1)
      assert.strictEqual(fabric.rnrs, 0)
    })
  )
})

describe("results", () => {
  it.sim("G10: do not change when later replies come", settings, () =>
    Effect.gen(function* () {
      const { client } = yield* makeWorld()
      const bytesOf = (index: number) => opaque(pattern(600, index))
      const call = (index: number) => {
        const args = bytesOf(index)
        const reply = client.call({ procedure: procedures.echo, args, maxResultBytes: 700 })
        return Effect.tap(reply, () => Effect.sync(() => args.fill(0)))
      }
      const kept = yield* many(100, call)
      yield* many(500, call)
      for (const [index, { results }] of kept.entries()) {
        assert.deepStrictEqual(Uint8Array.from(results), bytesOf(index))
      }
    })
  )
})

describe("a client that is closed", () => {
  it.sim("C3: ends all calls, also if it was never connected", settings, () =>
    Effect.gen(function* () {
      for (const isReachable of [true, false]) {
        const scope = yield* Scope.make()
        const { client, fabric } = yield* Scope.provide(makeWorld(), scope)
        if (!isReachable) {
          fabric.strike({ _tag: "Cut", from: "client", to: "server", forMillis: 60_000 })
        }
        const calls = yield* Effect.forkChild(
          many(10, () => Effect.exit(custom(client))),
          { startImmediately: true }
        )
        yield* Effect.sleep("100 millis")
        yield* Scope.close(scope, Exit.void)
        const exits = yield* Fiber.join(calls).pipe(Effect.timeout("1 second"))
        for (const exit of exits) {
          const error = yield* Effect.flip(Effect.suspend(() => exit))
          assert.deepInclude(error, { _tag: "ClientClosed", wasSent: isReachable })
        }
      }
    })
  )
})
