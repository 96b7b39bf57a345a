/**
 * Goal: memory, credits and the two directions never wait for each other in a circle.
 * Method: a client and a server on a simulated fabric with the smallest pools, whose handlers call
 * back; some calls are interrupted, and no caller has a deadline.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Procedure, Program } from "../../../src/actors/rpc/RpcProgram.ts"
import { it } from "../../../src/testing/vitest.ts"
import { Sim } from "../../../src/testing/index.ts"
import { makeWorld, procedures, token } from "./world.ts"

const free = { waiting: 0, xids: 0, heldCredits: 0, lentBytes: 0 }
const reverseName = { program: 0x2000_0002, version: 1 }

const numberIn = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

const range = (length: number) => Array.from({ length }, (_, index) => index)

/** Arguments of so many bytes that begin with a number. */
const argsOf = (value: number, bytes: number): Uint8Array => {
  const args = new Uint8Array(bytes)
  args.set(token(value))
  return args
}

/** Counts executions by the number in the arguments, which are the results too. */
const makeCounter = () => {
  const executions = new Map<number, number>()
  const executed = (args: Uint8Array): void => {
    executions.set(numberIn(args), (executions.get(numberIn(args)) ?? 0) + 1)
  }
  const isOnce = () => [...executions.values()].every((times) => times === 1)
  return { executions, executed, isOnce }
}

describe("calls that are nested in reverse calls", () => {
  for (const credits of [1, 2, 3, 16, 128]) {
    it.sim(`G19: all end with memory for one and ${credits} credits`, { seeds: 3 }, () =>
      Effect.gen(function* () {
        const { executed, isOnce } = makeCounter()
        const [there, back] = [makeCounter(), makeCounter()]
        const reverse: Program = {
          ...reverseName,
          procedures: {
            1: {
              handler: ({ args }) => Effect.sync(() => (back.executed(args), { results: args }))
            }
          }
        }
        const custom: Procedure["handler"] = ({ args, caller }) => {
          executed(args)
          const call = caller!.call({ ...reverseName, procedure: 1, args: args.slice(0, 4) })
          return Effect.as(Effect.orDie(call), { results: args })
        }
        const bytes = 8_192
        const { client, fabric } = yield* makeWorld({
          custom,
          client: { credits, memoryBytes: 2 * bytes, reverse: [reverse], reverseCalls: 2 },
          server: {
            credits: Math.min(64, credits),
            memoryBytes: bytes,
            maxBytesPerConnection: bytes,
            maxCallBytes: bytes
          }
        })
        const call = (value: number) =>
          client.call({
            procedure: procedures.custom,
            args: argsOf(value, 7_000),
            maxResultBytes: 7_000
          })
        yield* Effect.forEach(
          range(40),
          (value) =>
            value % 5 === 0
              ? Effect.asVoid(Effect.timeoutOption(call(value), "3 millis"))
              : Effect.map(call(value), ({ results }) => {
                  there.executed(results)
                }),
          { concurrency: "unbounded", discard: true }
        )
        assert.isTrue(isOnce() && back.isOnce() && there.isOnce())
        assert.strictEqual(there.executions.size, 32)
        yield* Sim.eventually(() => client.usage.xids === 0, "60 seconds", "nothing is out")
        assert.deepStrictEqual(client.usage, free)
        assert.strictEqual(fabric.rnrs, 0)
      })
    )
  }
})
