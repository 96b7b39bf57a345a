/**
 * Goal: what endpoints do can be watched: states, generations, waits at the gate,
 * why they end, and what is still draining (R18, R32).
 * Method: an endpoint and a scripted peer, or a full store, with a registry of their own.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it } from "../../../src/testing/vitest.ts"
import { half, scene } from "./scriptedPeer.ts"
import { card, onHost, pathOf } from "./simHosts.ts"

/** Counters, gauges and sums of histograms that are not zero, by name and label. */
const seen = Effect.map(Metric.snapshot, (all) => {
  const found: Record<string, number> = {}
  for (const { attributes, id, state } of all) {
    const [label] = Object.values(attributes ?? {})
    const name = `${id.replace("handfast_", "")}${label === undefined ? "" : ` ${label}`}`
    const { count, sum, value } = state as { count?: number; sum?: number; value?: number }
    const number = value ?? sum ?? count ?? 0
    if (name.startsWith("endpoint") && number !== 0) found[name] = Number(number.toFixed(1))
  }
  return found
})

/** The gauge of what is being drained, once it was used. */
const draining = Effect.map(Metric.snapshot, (all) => {
  const found = all.find(({ id }) => id === "handfast_endpoints_retiring")
  return (found?.state as { readonly value: number } | undefined)?.value
})

const own = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

describe("metrics of endpoints", () => {
  it.sim(
    "R32: tell states, generations, the wait at the gate and the reason of the end",
    { seeds: 3 },
    () =>
      own(
        scene(({ host, peer }) =>
          Effect.gen(function* () {
            peer.answering(half(1, "aaaaaaaa.1"))
            peer.acknowledged = () => Effect.sleep("3 seconds")
            const opening = yield* Effect.forkChild(host.store.open(peer.path))
            yield* Effect.sleep("1 second")
            assert.deepStrictEqual(yield* seen, {
              "endpoints AwaitingReadyAck": 1,
              endpoint_generations_total: 1
            })
            const link = yield* Fiber.join(opening)
            yield* Effect.sleep(1)
            const { endpoint_opening_seconds: seconds, ...others } = yield* seen
            assert.isAtLeast(seconds!, 3)
            assert.deepStrictEqual(others, {
              "endpoints Ready": 1,
              endpoint_generations_total: 1,
              endpoint_gate_wait_seconds: 3
            })
            yield* host.store.retire(link, "broken", "test")
            yield* Effect.sleep("1 second")
            const after = yield* seen
            assert.strictEqual(after["endpoint_ended_total broken"], 1)
            assert.notProperty(after, "endpoints Ready")
          })
        )
      )
  )

  it.sim("R18: count evicted endpoints while they drain", { seeds: 3 }, () =>
    own(
      Effect.gen(function* () {
        yield* Faults.heal
        const fabric = yield* SimFabric.make()
        const network = new SimHandshakes()
        const make = (host: string, capacity: number) =>
          card(network, host, { capacity }).pipe(Effect.provide(onHost(fabric, network, host)))
        const a = yield* make("a", 1)
        yield* make("p", 1)
        yield* make("q", 1)
        yield* a.store.open(pathOf("p"))
        assert.isUndefined(yield* draining)
        yield* a.store.open(pathOf("q"))
        yield* Effect.sleep("1 second")
        // It was one more, and is one less.
        assert.strictEqual(yield* draining, 0)
      })
    )
  )
})
