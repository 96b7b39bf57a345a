/** Two or more simulated hosts whose endpoints talk to each other, and a witness of it all. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { EndpointError } from "../../../src/actors/endpoint/EndpointError.ts"
import * as EndpointStore from "../../../src/actors/endpoint/EndpointStore.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import * as Nic from "../../../src/actors/rdma/Nic.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import type { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"

/** The error of an opening that fails. */
export const failureOf = (
  open: Effect.Effect<ReadyLink, EndpointStore.OpenLinkError>
): Effect.Effect<EndpointError> =>
  Effect.map(Effect.exit(Effect.flip(open)), (exit) => {
    const error = Exit.isSuccess(exit) ? exit.value : undefined
    assert.instanceOf(error, EndpointError)
    return error as EndpointError
  })

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
  Layer.mergeAll(SimVerbs.layer(fabric, { host, gids }), network.layer, Journal.layerMemory)

export type Host = Effect.Success<ReturnType<typeof card>>

/** Writes on a link, and gives the status of the completion. */
export const write = Effect.fnUntraced(function* (
  a: Pick<Host, "nic">,
  b: Pick<Host, "nic">,
  link: ReadyLink,
  bytes: number
) {
  const target = yield* b.nic.domain.register({
    memory: bytes,
    access: ["local-write", "remote-write"]
  })
  const request = new SendRequest()
  request.opcode = "write"
  request.scatterList.add(yield* a.nic.domain.register({ memory: bytes }))
  request.remote(target.remoteKey, target.address)
  assert.strictEqual(link.post(request), "accepted")
  return yield* endOf(a)
})

const endOf = Effect.fnUntraced(function* ({ nic }: Pick<Host, "nic">) {
  const batch = new CompletionBatch(1)
  while (nic.completions.poll(batch) === 0) yield* nic.completions.ready
  return batch.at(0).status
})
