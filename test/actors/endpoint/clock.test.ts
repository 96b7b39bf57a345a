/**
 * Goal: how long a connection stands is measured by a clock that no operator sets (R6, H3).
 * Method: a host whose calendar jumps, and a peer that names no epochs and repeats its offer.
 */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Offer } from "../../../src/actors/endpoint/Handshake.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import { card, onHost, pathOf } from "./simHosts.ts"

const seeds = { seeds: 3 }
const hour = 3_600_000

/** Takes an offer, lets something happen, and takes it once more. Returns both answers. */
const offeredTwice = (
  between: (setCalendar: (jumpMillis: number) => void) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    yield* Faults.heal
    const fabric = yield* SimFabric.make()
    const network = new SimHandshakes()
    const clock = yield* Clock.Clock
    let jump = 0
    const skewed: Clock.Clock = {
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + jump,
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (millis) => millis + jump),
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(jump) * 1_000_000n,
      currentTimeNanos: Effect.sync(() => skewed.currentTimeNanosUnsafe()),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    }
    const { nic, store } = yield* card(network, "a").pipe(
      Effect.provide(onHost(fabric, network, "a")),
      Effect.provideService(Clock.Clock, skewed)
    )
    const { gid, lid } = yield* nic.place
    const offer: Offer = {
      from: "10.0.0.9:1@mlx5_0",
      to: pathOf("a"),
      half: { queuePairs: [1, 2], gid, lid, epoch: undefined, mtu: undefined },
      knows: undefined,
      hasGate: false
    }
    const first = yield* store.takeOffer(offer)
    yield* between((jumpMillis) => void (jump = jumpMillis))
    const second = yield* store.takeOffer(offer)
    return { first: first.half.queuePairs, second: second.half.queuePairs }
  })

describe("a second offer of the same queue pairs", () => {
  for (const jumpMillis of [hour, -hour]) {
    it.sim(`R6: is the same one if the calendar jumps by ${jumpMillis} ms`, seeds, () =>
      Effect.gen(function* () {
        const { first, second } = yield* offeredTwice((setCalendar) =>
          Effect.sync(() => setCalendar(jumpMillis))
        )
        assert.deepStrictEqual(second, first)
      })
    )

    it.sim(`H3: is a new one after 61 s if the calendar jumps by ${jumpMillis} ms`, seeds, () =>
      Effect.gen(function* () {
        const { first, second } = yield* offeredTwice((setCalendar) =>
          Effect.andThen(
            Effect.sync(() => setCalendar(jumpMillis)),
            Effect.sleep("61 seconds")
          )
        )
        assert.notDeepEqual(second, first)
      })
    )
  }
})
