/** A write and its completion, over and over: in C, by bare calls, and by the provider. */
import { strict as assert } from "node:assert"
import * as Effect from "effect/Effect"
import type { IbCompletionQueue } from "../../src/native/ib/completions.ts"
import { IbQueuePair } from "../../src/native/ib/queuePair.ts"
import { WorkMemory } from "../../src/native/ib/workMemory.ts"
import { Block } from "../../src/native/ib/block.ts"
import { offsets, sizes } from "../../src/native/ib/layout.ts"
import { CompletionBatch } from "../../src/native/verbs/Completion.ts"
import { SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import * as Gid from "../../src/schema/Gid.ts"
import { makeStub } from "../../test/native/ib/stub.ts"
import type { Outcome } from "../harness.ts"

const count = 500_000
const access = ["local-write", "remote-write"] as const

const end = Effect.fnUntraced(function* (stub: Awaited<ReturnType<typeof makeStub>>) {
  const device = yield* stub.provider().open()
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(64)
  const region = yield* domain.register({ memory: 4096, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access })
  const path = { gid: Gid.fromAddress("127.0.0.1")! }
  yield* queuePair.modify({ to: "rtr", path, mtu: 1024, peer: 17 })
  yield* queuePair.modify({ to: "rts" })
  assert.ok(queuePair instanceof IbQueuePair)
  return { completions: completions as unknown as IbCompletionQueue, queuePair, region }
})

type End = Effect.Success<ReturnType<typeof end>>

/** Nanoseconds of each, after as many to warm up. */
const timed = (run: () => number): Record<string, Outcome> => {
  run()
  const start = performance.now()
  const completed = run()
  const value = ((performance.now() - start) * 1e6) / completed
  return { write: { value, unit: "ns", completed, expected: count } }
}

const withEnd = async (
  use: (own: End, stub: Awaited<ReturnType<typeof makeStub>>) => Record<string, Outcome>
) => {
  const stub = await makeStub()
  return Effect.runPromise(Effect.scoped(Effect.map(end(stub), (own) => use(own, stub))))
}

/** The same work in a loop of C. */
export const byC = () =>
  withEnd(({ completions, queuePair }, stub) => {
    stub.loop(queuePair.pointer, completions.pointer, count)
    const value = stub.loop(queuePair.pointer, completions.pointer, count)
    assert.ok(value > 0)
    return { write: { value, unit: "ns", completed: count, expected: count } }
  })

/** The driver's functions, called with a request that is filled by hand. */
export const byRawCalls = () =>
  withEnd(({ completions, queuePair, region }) => {
    const { libraries, operations } = queuePair.device
    const memory = new WorkMemory(libraries, {
      sendDepth: 1,
      receiveDepth: 1,
      scatterEntries: 1,
      domain: queuePair.domain
    })
    const place = memory.send(0)
    const request = Object.assign(new SendRequest(), { opcode: "write" as const })
    request.scatterList.add(region, 0, 64)
    place.take(request, 64)
    const entries = new Block(libraries, 64 * sizes.ibv_wc)
    return timed(() => {
      let completed = 0
      for (let index = 0; index < count; index++) {
        place.setName(0, index)
        operations.postSend(queuePair.pointer, place.address, memory.refused)
        completed += operations.poll(completions.pointer, 64, entries.address)
        if (entries.view.getUint32(offsets.ibv_wc.status, true) !== 0) return completed
      }
      return completed
    })
  })

/** A post and a poll of the provider. */
export const byProvider = () =>
  withEnd(({ completions, queuePair, region }) => {
    const request = Object.assign(new SendRequest(), { opcode: "write" as const })
    const batch = new CompletionBatch()
    return timed(() => {
      let completed = 0
      for (let index = 0; index < count; index++) {
        request.id = index
        request.scatterList.clear().add(region, 0, 64)
        queuePair.post(request.remote(7, index))
        completed += completions.poll(batch)
      }
      return completed
    })
  })
