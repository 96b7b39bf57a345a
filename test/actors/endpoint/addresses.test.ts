/**
 * Goal: a server that has several addresses is called at the next one only if nothing accepts at
 * the one before: a server that was reached may have done what it was asked for (H16, R33).
 * Method: a name with two addresses, the second one a server's, and a server that counts its calls.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as net from "node:net"
import { vi } from "vitest"
import { Caller } from "../../../src/actors/endpoint/mooncake/internal/client.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import { pool, script, typed } from "./tcp.ts"

const { addresses } = vi.hoisted(() => ({ addresses: { first: "" } }))
vi.mock("node:dns/promises", () => ({
  lookup: () => Promise.resolve([{ address: addresses.first }, { address: "127.0.0.1" }])
}))

/** Calls a name whose first address is this one. Counts the calls that reach the server. */
const call = (first: string, each: (socket: net.Socket) => void) =>
  Effect.gen(function* () {
    addresses.first = first
    let calls = 0
    const port = yield* script((socket) => {
      calls++
      socket.once("data", () => each(socket))
    })
    const caller = yield* Caller.make({})
    const server = `two.test:${port}`
    const exit = yield* Effect.exit(caller.call(server, server, FrameType.probe, "{}\n"))
    return { calls, outcome: exit._tag }
  }).pipe(Effect.scoped, Effect.provide(pool))

describe("a name with two addresses", () => {
  it.live("H16: is not called again if a server ends the call without an answer", () =>
    Effect.gen(function* () {
      const called = yield* call("127.0.0.1", (socket) => socket.end())
      assert.deepStrictEqual(called, { calls: 1, outcome: "Failure" })
    })
  )

  it.live("R33: is called at the second one if nothing listens at the first", () =>
    Effect.gen(function* () {
      const called = yield* call("127.0.0.9", (socket) =>
        socket.end(typed("{}\n", FrameType.probe))
      )
      assert.deepStrictEqual(called, { calls: 1, outcome: "Success" })
    })
  )
})
