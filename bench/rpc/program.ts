/** The program that both processes know. */
import * as Effect from "effect/Effect"
import type { Program } from "../../src/actors/rpc/RpcProgram.ts"

export const mostCredits = 128
export const bulkBytes = 1 << 20

const nothing = { results: new Uint8Array(0) }

const bulk = new Uint8Array(4 + bulkBytes).fill(1)
new DataView(bulk.buffer).setUint32(0, bulkBytes)

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
