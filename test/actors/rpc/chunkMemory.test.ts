/**
 * Goal: memory into which a device may still read is not given back, whatever becomes of the call.
 * Method: a responder over a port whose transfers the test ends, and memory that notes its return.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { PoolShare } from "../../../src/actors/rdma/RegionPool.ts"
import type { MessagePort } from "../../../src/actors/rpc/internal/messagePort.ts"
import type { Done } from "../../../src/actors/rpc/internal/outgoing.ts"
import { Responder } from "../../../src/actors/rpc/internal/responder.ts"

/** A call whose message is in two segments of the requester's memory. */
const reads = [1, 2].map((handle) => ({ position: 0, handle, length: 8, offset: 0n }))
const chunks = { reads, writes: [], reply: undefined }
const message = { _tag: "RdmaNomsg", xid: 7, credits: 1, chunks } as const

const setup = () => {
  const transfers: Array<Done> = []
  const port = {
    postReceives: (count: number) => count,
    transfer: (...[, , , done]: Parameters<MessagePort["transfer"]>) => void transfers.push(done)
  }
  let isReturned = false
  const end = Effect.sync(() => void (isReturned = true))
  const loan = { bytes: new Uint8Array(16), region: {}, end }
  const responder = new Responder({
    thresholds: { callBytes: 1_024, replyBytes: 1_024 },
    share: { lend: () => Effect.succeed(loan) } as unknown as PoolShare,
    maxCallBytes: 1_024,
    mayInvalidate: false,
    credits: () => 1,
    take: () => undefined,
    answered: () => false,
    turn: () => undefined,
    unreachable: () => undefined,
    later: () => undefined,
    run: () => undefined
  })
  assert.isTrue(responder.attach(port as unknown as MessagePort))
  const assemble = responder.assemble({ responder, message, isInterrupted: false })
  return { assemble, isReturned: () => isReturned, transfers }
}

describe("memory for the chunks of a call", () => {
  it.effect.each(["success", "flushed"] as const)(
    "G22: is kept by an interrupted call until all of its reads have ended: %s",
    (status) =>
      Effect.gen(function* () {
        const { assemble, isReturned, transfers } = setup()
        const reading = yield* Effect.forkChild(assemble, { startImmediately: true })
        assert.lengthOf(transfers, 2)
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(reading), {
          startImmediately: true
        })
        yield* Effect.yieldNow
        transfers[0]!(status)
        yield* Effect.yieldNow
        assert.isFalse(isReturned())
        transfers[1]!(status)
        yield* Fiber.join(interrupting)
        assert.isTrue(isReturned())
      })
  )
})
