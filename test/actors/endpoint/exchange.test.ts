/**
 * Goal: a call says how far it came, since only one that reached no server is made anew at the next
 * address of a name: a server that was reached may have done what it was asked for.
 * Method: a call to a port where nothing listens, and to servers that reset, end, or answer partly.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as net from "node:net"
import { Bounds, exchange } from "../../../src/actors/endpoint/mooncake/internal/exchange.ts"
import { script, typed } from "./tcp.ts"

const limits = {
  connectWithinMs: 5_000,
  answerWithinMs: 5_000,
  callsPerServer: 1,
  frameBytes: 1_024
}

const callTo = (port: number, bounds: Bounds) => {
  const to = { host: "127.0.0.1", port }
  return Effect.flip(exchange({ server: "s", to, frame: typed("{}\n"), isUrgent: false }, bounds))
}

describe("a call", () => {
  it.live("R33: has not connected if nothing listens there", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const bounds = yield* Bounds.make(limits)
        const port = yield* Effect.scoped(script(() => undefined))
        assert.deepInclude(yield* callTo(port, bounds), { step: "connect" })
      })
    )
  )

  const ways: Readonly<Record<string, (socket: net.Socket) => void>> = {
    "resets the connection": (socket) => void socket.once("data", () => socket.resetAndDestroy()),
    "ends the connection": (socket) => void socket.once("data", () => socket.end()),
    "says a part of an answer": (socket) =>
      void socket.once("data", () => socket.end(typed("{}\n").subarray(0, 10)))
  }
  for (const [how, each] of Object.entries(ways)) {
    it.live(`R33: was not answered if the server ${how}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const bounds = yield* Bounds.make(limits)
          const port = yield* script(each)
          assert.deepInclude(yield* callTo(port, bounds), { step: "answer" })
          // Its turn is over, and nothing of it is left.
          assert.deepInclude(yield* callTo(port, bounds), { step: "answer" })
          assert.strictEqual(bounds.open.size, 0)
        })
      )
    )
  }
})
