/**
 * Goal: a caller of many calls makes each of them once, also while a replaced server makes calls
 * fail whose ends begin others.
 * Method: an `Effect.forEach` of limited concurrency over calls that the first server never
 * answers; the second one answers all. The calls that were begun are counted.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { it } from "../../../src/testing/vitest.ts"
import { makeProgram, procedures, program, token } from "./world.ts"

describe("a replaced server", () => {
  it.sim("has each item of a forEach called once", { seeds: 4 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const serve = (custom: Parameters<typeof makeProgram>[0]) =>
        RpcServer.make({
          programs: [makeProgram(custom).served],
          open: true,
          host: "*",
          port: 20_049,
          credits: 4,
          closeWithinMs: 1
        }).pipe(Effect.provide(SimVerbs.layer(fabric, { host: "server" })))
      const first = yield* Scope.make()
      const { address } = yield* Scope.provide(
        serve(() => Effect.never),
        first
      )
      const client = yield* RpcClient.make({ to: address, program, version: 1 }).pipe(
        Effect.provide(SimVerbs.layer(fabric, { host: "client" }))
      )
      const begun: Array<number> = []
      const items = Array.from({ length: 32 }, (_, index) => index)
      const call = (item: number) =>
        Effect.suspend(() => {
          begun.push(item)
          return client.call({ procedure: procedures.custom, args: token(item) })
        }).pipe(Effect.exit)
      const calling = yield* Effect.forkChild(
        Effect.forEach(items, call, { concurrency: 8, discard: true })
      )
      yield* Effect.sleep("1 second")
      yield* Scope.close(first, Exit.void)
      yield* serve(({ args }) => Effect.succeed({ results: args }))
      yield* Fiber.join(calling)
      // Their order is that of the scheduler.
      assert.deepStrictEqual(
        begun.toSorted((a, b) => a - b),
        items
      )
    })
  )
})
