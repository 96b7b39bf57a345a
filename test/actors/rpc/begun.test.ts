/**
 * Goal: a caller of many calls makes each of them once, also if one that begins makes others fail,
 * as it does when it finds room after the responder was replaced.
 * Method: an `Effect.forEach` over calls to a connection that, from one moment on, fails a call
 * that waits whenever another one begins.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { CallQueue } from "../../../src/actors/rpc/internal/callQueue.ts"
import { Calls } from "../../../src/actors/rpc/internal/calls.ts"
import type { Hub } from "../../../src/actors/rpc/internal/connectionActor.ts"
import { leastThresholds } from "../../../src/actors/rpc/internal/planning.ts"
import { OutcomeUnknown } from "../../../src/actors/rpc/RpcError.ts"

const items = Array.from({ length: 16 }, (_, index) => index)

describe("a call that makes others fail when it begins", () => {
  it.effect("B3: lets their callers begin each of their next calls once", () =>
    Effect.gen(function* () {
      const queue = new CallQueue(1)
      const begun: Array<number> = []
      let isReplaced = false
      const failNext = () =>
        queue.shift()?.fail(new OutcomeUnknown({ procedure: 1, detail: "replaced" }))
      const calls = new Calls({
        around: { queue },
        requester: { admit: () => isReplaced && failNext(), abandon: () => false },
        settings: { program: 1, version: 1 },
        thresholds: leastThresholds
      } as unknown as Hub)
      const call = (item: number) =>
        Effect.suspend(() => {
          begun.push(item)
          return Effect.exit(calls.call({ procedure: 1, args: new Uint8Array(4) }))
        })
      const calling = yield* Effect.forkChild(
        Effect.forEach(items, call, { concurrency: 4, discard: true }),
        { startImmediately: true }
      )
      isReplaced = true
      while (calling.pollUnsafe() === undefined) {
        failNext()
        yield* Effect.yieldNow
      }
      yield* Fiber.join(calling)
      assert.deepStrictEqual(
        begun.toSorted((a, b) => a - b),
        items
      )
    })
  )
})
