/**
 * Goal: a change of the inline sizes between connections loses no call, repeats none, and writes
 * nothing past what was offered, also when the reply was kept from an older connection.
 * Method: a client whose connections each say another size, on a simulated fabric. Every second
 * handler loses its connection before its reply can leave.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { Connector } from "../../../src/native/verbs/Connection.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { it } from "../../../src/testing/vitest.ts"
import { makeProgram, procedures, program, token } from "./world.ts"

const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }

/** The sizes that connections say, one after the other. */
const inline = [262_144, 1_024, 4_096, 1_024, 262_144, 4_096]
const most = Math.max(...inline)

/** An object of which one method is another one. */
const withMethod = <A extends object, K extends keyof A>(of: A, name: K, method: A[K]): A =>
  new Proxy(of, {
    get: (target, key) => {
      if (key === name) return method
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === "function" ? (value.bind(target) as unknown) : value
    }
  })

/** Devices whose connections say the sizes above, for both ends. */
const changing = (layer: Layer.Layer<Verbs>, log: { connections: number }) =>
  Layer.effect(
    Verbs,
    Effect.map(Verbs, (verbs) =>
      withMethod(verbs, "open", (...args) =>
        Effect.map(verbs.open(...args), (device) => {
          const connect: Connector["connect"] = (options) => {
            const bytes = inline[log.connections++ % inline.length]!
            const saying = (privateData: Uint8Array): Uint8Array => {
              const said = Uint8Array.from(privateData)
              return said.fill(bytes / 1_024 - 1, 6, 8)
            }
            const connected = device.connect({
              ...options,
              privateData: saying(options.privateData!)
            })
            return Effect.map(connected, (connection) =>
              withMethod(connection, "privateData", saying(connection.privateData))
            )
          }
          return withMethod(device, "connect", connect)
        })
      )
    )
  ).pipe(Layer.provide(layer))

/** With headers, around each of the sizes. */
const sizes = [4, 900, 928, 956, 960, 1_000, 3_996, 4_028, 4_100, 9_000, 262_000, 262_200]

describe("inline sizes that change with each connection", () => {
  it.sim("G15: cost no call and repeat none, also when its reply was kept", { seeds: 2 }, () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const executions = new Map<number, number>()
      const numberIn = (bytes: Uint8Array): number =>
        new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
      const { served } = makeProgram(({ args }) =>
        Effect.sync(() => {
          const value = numberIn(args)
          executions.set(value, (executions.get(value) ?? 0) + 1)
          if (value % 2 === 0) {
            fabric.strike({ _tag: "QueuePairError", node: "server", step: "running" })
          }
          const results = new Uint8Array(numberIn(args.subarray(4)))
          results.set(token(value))
          return { results }
        })
      )
      const server = yield* Effect.provide(
        RpcServer.make({
          programs: [served],
          open: true,
          host: "*",
          inlineBytes: most,
          maxCredits: 4,
          credits: 4
        }),
        SimVerbs.layer(fabric, { host: "server" })
      )
      const log = { connections: 0 }
      const client = yield* Effect.provide(
        RpcClient.make({
          to: server.address,
          program,
          version: 1,
          inlineBytes: most,
          credits: 4,
          firstPauseMs: 1,
          longestPauseMs: 5
        }),
        changing(SimVerbs.layer(fabric, { host: "client" }), log)
      )
      const pairs = sizes.flatMap((there) => sizes.map((back) => [there + 4, back] as const))
      yield* Effect.forEach(
        pairs,
        ([there, back], value) =>
          Effect.gen(function* () {
            const args = new Uint8Array(there)
            args.set(token(value))
            args.set(token(back), 4)
            const call = { procedure: procedures.custom, args, maxResultBytes: back }
            const { results } = yield* client.call(call)
            assert.strictEqual(results.length, back)
            assert.strictEqual(numberIn(results), value)
          }),
        { concurrency: 3, discard: true }
      )
      assert.isAbove(log.connections, inline.length)
      assert.strictEqual(executions.size, pairs.length)
      assert.isTrue([...executions.values()].every((times) => times === 1))
      assert.deepStrictEqual(client.usage, free)
      assert.strictEqual(fabric.rnrs, 0)
    })
  )
})
