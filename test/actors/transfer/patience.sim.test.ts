/**
 * Goal: work waits for a peer that cannot be reached for as long as its patience says, however its
 * attempts fail and over however many cards (R12); and a link that the peer opens is used at once,
 * whatever this side's attempts do at that time (R13).
 * Method: engines on a simulated fabric; attempts that hang, are refused, or have not begun.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TransferFailed } from "../../../src/actors/transfer/TransferError.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, pair, shared, timed } from "./harness.ts"

const seeds = { seeds: 10 }
const bytes = 1 << 20
const refused = { _tag: "Refused", message: "not now" }
const ways = {
  hang: () => Effect.never,
  "are refused": () => Effect.fail(refused),
  "fail after a second": () => Effect.delay(Effect.fail(refused), "1 second")
}

describe("the patience for a peer that cannot be reached", () => {
  for (const devices of [["x"], ["x", "y"], ["x", "y", "z"]]) {
    for (const [how, obstacle] of Object.entries(ways)) {
      const name = `R12: is 30 s over ${devices.length} cards whose attempts ${how}`
      it.sim(name, seeds, () =>
        Effect.gen(function* () {
          const { a, b, net } = yield* pair({ wires: { obstacle }, devices })
          const own = yield* shared(a, "own", bytes, 1)
          yield* shared(b, "kept", bytes)
          const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
          const { millis, value } = yield* timed(Effect.flip(write))
          assert(value instanceof TransferFailed)
          assert.strictEqual(value.reason, "peer-unreachable")
          // By one wait between two attempts more, and by what the last one takes.
          assert.isTrue(millis >= 30_000 && millis <= 36_100, `${millis}`)
          const { attempts } = net
          yield* Effect.sleep("1 minute")
          assert.strictEqual(net.attempts, attempts)
        })
      )
    }
  }
})

describe("an outage", () => {
  it.sim("T9: begins when the last link is lost, not when an attempt beside it began", seeds, () =>
    Effect.gen(function* () {
      const hour = 3_600_000
      const slow = Effect.delay(Effect.fail(refused), "40 seconds")
      let obstacle: Effect.Effect<void, typeof refused> = slow
      const { a, b, fabric, net } = yield* pair({
        devices: ["x", "y"],
        settings: { openWithinMs: hour, stallAfterMs: hour },
        wires: {
          timeout: 0,
          obstacle: (local) => (local === "a@x" && obstacle === slow ? Effect.void : obstacle)
        }
      })
      const own = yield* shared(a, "own", bytes, 1)
      const kept = yield* shared(b, "kept", bytes)
      fabric.strike({ _tag: "Cut", from: "b/x", to: "a/x", forMillis: 41_000 })
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(write)
      yield* Effect.sleep("42 seconds")
      assert.isAbove(net.attempts, 1)
      obstacle = Effect.fail(refused)
      for (const link of net.links) net.retire(link, "lost")
      yield* Effect.sleep("10 seconds")
      obstacle = Effect.void
      yield* Effect.timeout(Fiber.join(moving), "10 seconds")
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("a link that the peer opens", () => {
  const hour = 3_600_000
  /** Attempts fail, and after some of them the next one is an hour away. */
  const paused = { faults: 2, faultsWithinMs: hour, pauseMs: hour, unreachableAfterMs: 2 * hour }
  const waits = {
    "has its next try in an hour": {
      firstWaitMs: hour,
      longestWaitMs: hour,
      unreachableAfterMs: 2 * hour
    },
    "tries all the time": { firstWaitMs: 100, longestWaitMs: 100, unreachableAfterMs: 2 * hour },
    "has paused all ways": { ...paused, firstWaitMs: 10, longestWaitMs: hour },
    "gives up in a moment": { firstWaitMs: 5_000, longestWaitMs: 5_000, unreachableAfterMs: 5_100 }
  }
  for (const [when, settings] of Object.entries(waits)) {
    for (const [own, other] of ["xx", "xy"] as const) {
      it.sim(
        `R13: from ${other} to ${own} is used at once if this side ${when}`,
        { seeds: 5 },
        () =>
          Effect.gen(function* () {
            const wall = { up: true }
            const obstacle = () =>
              Effect.suspend(() => (wall.up ? Effect.fail(refused) : Effect.void))
            const devices = ["x", "y"]
            const { a, b, net } = yield* pair({ settings, wires: { obstacle }, devices })
            const source = yield* shared(a, "own", bytes, 1)
            const kept = yield* shared(b, "kept", bytes)
            const write = a.write({ peer: "b", from: source.slice(), to: { buffer: "kept" } })
            const moving = yield* Effect.forkChild(write)
            yield* Effect.sleep("5 seconds")
            assert.isAbove(net.attempts, 0)
            wall.up = false
            const link = yield* net.open(net.nics.get(`a@${own}`)!, `b@${other}`)
            wall.up = true
            net.listeners.get("a")!(link)
            const { millis } = yield* timed(Fiber.join(moving))
            assert.isBelow(millis, 500)
            assert.strictEqual(differsAt(source.bytes, kept.bytes), -1)
          })
      )
    }
  }
})
