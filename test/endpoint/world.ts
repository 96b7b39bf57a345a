/** Two or more simulated hosts whose endpoints talk to each other, and a witness of it all. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EndpointStore from "../../src/actors/endpoint/EndpointStore.ts"
import * as Nic from "../../src/actors/endpoint/Nic.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import type { SimFabric } from "../../src/native/sim/SimFabric.ts"
import { Verbs } from "../../src/native/Verbs.ts"
import type { SimHandshakes } from "../../src/testing/SimHandshakes.ts"

export const pathOf = (host: string): string => `${host}@sim0`

export type Rules = EndpointStore.Options["rules"]

/** The card of a host, with a store of endpoints that takes handshakes. */
export const card = Effect.fnUntraced(function* (
  network: SimHandshakes,
  host: string,
  options: Omit<EndpointStore.Options, "nic"> = {},
  how: Omit<Nic.Options, "path"> = {}
) {
  const nic = yield* Nic.open({ path: pathOf(host), ...how })
  const store = yield* EndpointStore.make({ nic, ...options })
  yield* network.serve(nic.path, store)
  return { nic, store }
})

/** What a host of the fabric has. */
export const onHost = (fabric: SimFabric, network: SimHandshakes, host: string, gids = 1) =>
  Layer.mergeAll(Verbs.layerSim(fabric, { host, gids }), network.layer, Journal.layerMemory)

export type Host = Effect.Success<ReturnType<typeof card>>
