/** The program that both processes know. */
import * as Effect from "effect/Effect"
import type { Program } from "../../src/actors/rpc/RpcProgram.ts"

export const mostCredits = 129
export const bulkBytes = 1 << 20
/** Calls for 1 MiB of a run, and how many of them are in flight. */
export const [bulkCalls, bulkInFlight] = [400, 8]

const nothing = { results: new Uint8Array(0) }

const bulk = new Uint8Array(4 + bulkBytes).fill(1)
new DataView(bulk.buffer).setUint32(0, bulkBytes)

/** Bytes of a result of 1 MiB, by all contestants. */
export const bulkResult = bulk.subarray(4)

/** Fails unless a result is what the other process has sent. */
export const validateBulk = (bytes: Uint8Array): void => {
  if (bytes.length !== bulkBytes || bytes[bulkBytes - 1] !== 1) throw new Error("another result")
}

export const program: Program = {
  program: 0x2000_0001,
  version: 1,
  procedures: {
    1: { handler: () => Effect.succeed(nothing) },
    2: {
      isIdempotent: true,
      handler: () => Effect.succeed({ results: bulk, bulk: [{ offset: 4, length: bulkBytes }] })
    }
  }
}
