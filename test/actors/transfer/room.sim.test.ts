/**
 * Goal: work that finds no room in the completion queue of its NIC is posted as soon as there is
 * room, although no work of its own has a completion then (T15).
 * Method: a queue pair of the test, on the same completion queue, whose sends take all of its room
 * and end when the peer posts receives for them. The twin has room, and waits for nothing.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { it } from "../../../src/testing/vitest.ts"
import { connect, type Network, pair, shared } from "./harness.ts"

const seeds = { seeds: 10 }
const room = 4

/** Takes so many places of the completion queue of `a`; the effect that it returns frees one. */
const occupy = Effect.fnUntraced(function* (net: Network, places: number) {
  const [here, there] = [net.nics.get("a@sim0")!, net.nics.get("b@sim0")!]
  const local = yield* here.domain.queuePair({ sendCompletions: here.completions })
  const remote = yield* there.domain.queuePair({ sendCompletions: there.completions })
  yield* connect(local, here, remote, there, 0)
  yield* connect(remote, there, local, here, 0)
  const send = new SendRequest()
  send.opcode = "send"
  send.signalled = true
  for (let count = 0; count < places; count++) assert.strictEqual(local.post(send), "accepted")
  return Effect.sync(() => {
    assert.strictEqual(remote.postReceive(new ReceiveRequest()), "accepted")
  })
})

describe("work that finds no room in the queue of its NIC", () => {
  for (const taken of [room, room - 1]) {
    const what = taken === room ? "is posted when there is room" : "waits for nothing if there is"
    it.sim(`T15: ${what}`, seeds, () =>
      Effect.gen(function* () {
        const { a, b, net } = yield* pair({ completions: room })
        const [first, second] = [yield* shared(a, "1", 1000, 1), yield* shared(a, "2", 1000, 2)]
        yield* shared(b, "kept", 1000)
        yield* a.warm("b")
        const free = yield* occupy(net, taken)
        const write = (from: typeof first) =>
          Effect.forkChild(a.write({ peer: "b", from: from.slice(), to: { buffer: "kept" } }))
        const moving = [yield* write(first), yield* write(second)]
        yield* Effect.sleep("1 second")
        assert.strictEqual(net.posts, taken === room ? 0 : 2)
        yield* free
        yield* Effect.timeout(Fiber.joinAll(moving), "1 second")
        assert.strictEqual(net.posts, 2)
      })
    )
  }
})
