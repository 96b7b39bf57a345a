/**
 * Goal: with a journal a call is executed at most once over the lives of its server, a reply that
 * was lost with the server is given by the next one, and of no call that may have been executed it
 * is claimed that it was not.
 * Method: a server that is killed at random moments, or between two chosen steps of a call, on a
 * disk that takes its time. Calls are counted by token outside of the processes. The twin has no
 * journal.
 */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { Journal, type Store } from "../../../src/actors/kernel/Journal.ts"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import type { Procedure } from "../../../src/actors/rpc/RpcProgram.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { StorageFailed } from "../../../src/schema/JournalRecord.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeProgram, procedures, program, token } from "./world.ts"

const numberIn = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** A server that can be killed and started, and a client of it. */
const makeWorld = Effect.fnUntraced(function* (
  options: Partial<RpcServer.ServerOptions>,
  custom?: Procedure["handler"]
) {
  const fabric = yield* SimFabric.make()
  const { executions, served } = makeProgram(custom)
  const serving = RpcServer.make({
    programs: [served],
    open: true,
    host: "*",
    port: 20_049,
    ...options
  })
  const life = Effect.provide(
    Effect.scoped(Effect.andThen(serving, Effect.never)),
    SimVerbs.layer(fabric, { host: "server" })
  )
  const server = yield* Sim.process("server", life, {
    onFailure: { restartAfter: "20 millis" }
  })
  yield* Effect.sleep("5 millis")
  const client = yield* Effect.provide(
    RpcClient.make({
      to: { host: "10.0.0.1", port: 20_049 },
      program,
      version: 1,
      firstPauseMs: 5,
      longestPauseMs: 20,
      connectWithinMs: 200,
      overdueAfterMs: 500,
      probeWithinMs: 200
    }),
    SimVerbs.layer(fabric, { host: "client" })
  )
  return { client, executions, fabric, server }
})

/** A journal whose appends take a while, and may fail. */
const slow = (store: Store, state = { isFailing: false }): Store => ({
  ...store,
  append: (append) =>
    Effect.suspend(() =>
      state.isFailing
        ? Effect.fail(
            new StorageFailed({
              operation: "append",
              reason: "disk-full",
              file: "simulated disk",
              detail: "full"
            })
          )
        : Effect.delay(store.append(append), "1 millis")
    )
})

const durable = <A, E, R>(use: (journal: Store) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(Journal, use), Journal.layerMemory)

const range = (length: number) => Array.from({ length }, (_, index) => index)

describe("a server with a journal", () => {
  it.sim("G2: executes no call twice, however often it is killed", { seeds: 10 }, () =>
    durable((journal) =>
      Effect.gen(function* () {
        const { client, executions, server } = yield* makeWorld({ journal: slow(journal) })
        const told = { replies: 0, unknown: 0 }
        const state = { isOver: false }
        const caller = Effect.fnUntraced(function* (first: number) {
          for (let value = first; !state.isOver; value++) {
            const exit = yield* Effect.exit(count(client, value))
            if (Exit.isSuccess(exit)) {
              assert.strictEqual(exit.value, 1)
              told.replies++
            } else {
              const { _tag } = yield* Effect.flip(exit)
              assert.strictEqual(_tag, "OutcomeUnknown")
              told.unknown++
            }
          }
        })
        const calling = yield* Effect.forkChild(
          Effect.forEach(range(20), (index) => caller(index * 10_000), {
            concurrency: "unbounded"
          })
        )
        for (let round = 0; round < 20; round++) {
          yield* Effect.sleep(yield* Random.nextBetween(20, 60))
          yield* server.restart
        }
        yield* Effect.sleep("100 millis")
        state.isOver = true
        yield* Effect.yieldNow
        yield* Fiber.join(calling)
        assert.isTrue([...executions.values()].every((times) => times === 1))
        assert.isAbove(told.replies, 100)
      })
    )
  )

  /** The step at which the server is killed, whether it executed the call, and its outcome. */
  const steps = [
    { type: "Begun", isStored: false, executions: 1, isAnswered: true },
    { type: "Begun", isStored: true, executions: 0, isAnswered: false },
    { type: "Answered", isStored: false, executions: 1, isAnswered: false },
    { type: "Answered", isStored: true, executions: 1, isAnswered: true }
  ]
  /** A handler may act as soon as it is called, or when its effect runs. */
  const acting: Record<string, (act: () => void) => Procedure["handler"]> = {
    "by its effect": (act) => (call) =>
      Effect.map(Effect.sync(act), () => ({ results: call.args })),
    "by its call": (act) => (call) => {
      act()
      return Effect.succeed({ results: call.args })
    }
  }
  const cases = Object.entries(acting).flatMap(([when, handler]) =>
    steps.map((step) => ({ step, when, handler }))
  )
  for (const { handler, step, when } of cases) {
    const { executions, isAnswered, isStored, type } = step
    const place = `${type} is ${isStored ? "" : "not "}stored`
    const title = `G2: that is killed when ${place} executes the call once or never, ${when}`
    it.sim(title, { seeds: 3 }, () =>
      durable((journal) =>
        Effect.gen(function* () {
          let executed = 0
          const isReached = Deferred.makeUnsafe<void>()
          const stop = Effect.andThen(
            Effect.suspend(() => Deferred.succeed(isReached, undefined)),
            Effect.never
          )
          const state = { isArmed: false }
          const stopping: Store = {
            ...journal,
            append: (append) =>
              Effect.suspend(() => {
                const isMeant = append.events.some((event) => event.type === type)
                if (!(state.isArmed && isMeant)) return journal.append(append)
                state.isArmed = false
                return isStored ? Effect.andThen(journal.append(append), stop) : stop
              })
          }
          const custom = handler(() => executed++)
          const { client, server } = yield* makeWorld({ journal: stopping }, custom)
          yield* count(client, 1)
          state.isArmed = true
          const call = client.call({ procedure: procedures.custom, args: token(7) })
          const calling = yield* Effect.forkChild(Effect.exit(call))
          yield* Deferred.await(isReached)
          yield* server.restart
          const exit = yield* Fiber.join(calling)
          assert.strictEqual(executed, executions)
          if (isAnswered && Exit.isSuccess(exit)) {
            assert.strictEqual(numberIn(exit.value.results), 7)
          } else {
            const error = yield* Effect.flip(Effect.suspend(() => exit))
            assert.isFalse(isAnswered)
            assert.strictEqual(error._tag, "OutcomeUnknown")
          }
        })
      )
    )
  }

  it.sim("G2: lets calls wait while the journal fails, and loses none", { seeds: 3 }, () =>
    durable((journal) =>
      Effect.gen(function* () {
        const state = { isFailing: false }
        const { client, executions } = yield* makeWorld({ journal: slow(journal, state) })
        yield* count(client, 0)
        state.isFailing = true
        const calls = yield* Effect.forkChild(
          Effect.forEach(range(20), (value) => count(client, value + 1), {
            concurrency: "unbounded"
          })
        )
        yield* Effect.sleep("3 seconds")
        assert.strictEqual(executions.size, 1)
        state.isFailing = false
        yield* Fiber.join(calls)
        assert.strictEqual(executions.size, 21)
        assert.isTrue([...executions.values()].every((times) => times === 1))
      })
    )
  )

  it.sim("G2: keeps no more of its history than twice what it needs", { seeds: 1 }, () =>
    durable((journal) =>
      Effect.gen(function* () {
        let [stored, pruned] = [0, 0]
        const counting: Store = {
          ...journal,
          append: (append) =>
            Effect.tap(journal.append(append), () =>
              Effect.sync(() => void (stored += append.events.length))
            ),
          prune: (claim, limits) =>
            Effect.tap(journal.prune(claim, limits), () =>
              Effect.sync(() => void (pruned = limits.eventsTo ?? 0))
            )
        }
        const { client, executions, server } = yield* makeWorld({ journal: counting })
        for (let value = 0; value < 2_000; value++) yield* count(client, value)
        // One client, and two windows of 64 calls.
        assert.isAtMost(stored - pruned, 2 * (1 + 128) + 1_024 + 2)
        yield* server.restart
        for (let value = 2_000; value < 2_010; value++) yield* count(client, value)
        assert.isTrue([...executions.values()].every((times) => times === 1))
      })
    )
  )
})
