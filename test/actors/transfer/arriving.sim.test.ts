/**
 * Goal: a link that a peer has opened is used at once, whatever the engine waits for (T5).
 * Method: two engines of the lab; what one waits for sleeps or hangs, then its peer opens a link.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { NoDescription } from "../../../src/actors/rdma/Directory.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import { it } from "../../../src/testing/vitest.ts"
import { type Network, pair, shared, timed } from "./harness.ts"

const unanswered = new NoDescription({ peer: "b", reason: "unanswered", detail: "nobody there" })
const hour = 3_600_000
/** So long that nothing is tried again by itself. */
const settings = {
  firstWaitMs: hour,
  longestWaitMs: hour,
  unreachableAfterMs: 2 * hour,
  openWithinMs: hour
}

const stuck: Record<
  string,
  { readonly isKnown: boolean; readonly strike: (net: Network) => void }
> = {
  "sleeps until it asks an unknown peer again": {
    isKnown: false,
    strike: (net) => void (net.answers = Effect.fail(unanswered))
  },
  "has asked an unknown peer that does not answer": {
    isKnown: false,
    strike: (net) => void (net.answers = Effect.never)
  },
  "has asked a known peer that does not answer": {
    isKnown: true,
    strike: (net) => void (net.answers = Effect.never)
  },
  "opens a link that does not get ready": {
    isKnown: true,
    strike: (net) => void (net.isStuck = true)
  }
}

describe("T5: a link that a peer has opened", () => {
  for (const [why, { isKnown, strike }] of Object.entries(stuck)) {
    it.sim(`is used at once by an engine that ${why}`, { seeds: 5 }, () =>
      Effect.gen(function* () {
        const { a, b, net } = yield* pair({ settings })
        const own = yield* shared(a, "own", 1000, 1)
        yield* shared(b, "kept", 1000)
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        if (isKnown) {
          yield* write
          for (const link of net.links) net.retire(link, "lost")
        }
        strike(net)
        const moving = yield* Effect.forkChild(write)
        yield* Effect.sleep("10 seconds")
        assert.isUndefined(moving.pollUnsafe())
        net.answers = Effect.void
        net.isStuck = false
        const link = yield* net.open(net.nics.get("a@sim0")!, "b@sim0")
        net.listeners.get("a")!(link)
        const { millis } = yield* timed(Fiber.join(moving))
        assert.isBelow(millis, 100)
      })
    )
  }

  it.sim("is not given up for an answer that comes later", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* write
      for (const link of net.links) net.retire(link, "lost")
      net.answers = Effect.sleep("1 minute")
      const moving = yield* Effect.forkChild(write)
      yield* Effect.sleep("10 seconds")
      net.answers = Effect.void
      const link = yield* net.open(net.nics.get("a@sim0")!, "b@sim0")
      net.listeners.get("a")!(link)
      yield* Fiber.join(moving)
      // What the peer said of itself in an earlier life.
      net.said.set("b", { nics: [], buffers: [] })
      yield* Effect.sleep("2 minutes")
      assert.isTrue(link.isOpen)
      yield* write
    })
  )

  it.sim("is not replaced by an attempt that ends later", { seeds: 5 }, () =>
    Effect.gen(function* () {
      let wait = 60_000
      const posted: Array<ReadyLink> = []
      const { a, b, net } = yield* pair({
        settings,
        wires: {
          obstacle: () => Effect.sleep(wait),
          onPost: (link) => void posted.push(link)
        }
      })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(write)
      yield* Effect.sleep("10 seconds")
      wait = 0
      const link = yield* net.open(net.nics.get("a@sim0")!, "b@sim0")
      net.listeners.get("a")!(link)
      yield* Fiber.join(moving)
      yield* Effect.sleep("2 minutes")
      yield* write
      assert.isTrue(posted.length > 0 && posted.every((one) => one === link))
    })
  )
})
