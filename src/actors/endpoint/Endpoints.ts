/**
 * The endpoints of all local NICs: they open links for transfers, and take handshakes of peers.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import assert from "node:assert/strict"
import type { SettingsRefused } from "../../native/io/PoolError.ts"
import type { Journal } from "../kernel/Journal.ts"
import * as EndpointStore from "./EndpointStore.ts"
import type { Handshakes } from "./Handshake.ts"
import { Links } from "./Links.ts"
import { Nics } from "../rdma/Nics.ts"
import type { ReadyLink } from "./ReadyLink.ts"

/** The store of each NIC, by the NIC's path. */
export class Endpoints extends Context.Service<
  Endpoints,
  ReadonlyMap<string, EndpointStore.EndpointStore>
>()("handfast/actors/endpoint/Endpoints") {
  /** Stores for the local NICs, and the links that transfers get from them. */
  static readonly layer = (
    options: Omit<EndpointStore.Options, "nic" | "onReady"> = {}
  ): Layer.Layer<Endpoints | Links, SettingsRefused, Nics | Handshakes | Journal> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const nics = yield* Nics
        const run = yield* FiberSet.makeRuntime()
        const stores = new Map<string, EndpointStore.EndpointStore>()
        const listeners = new Set<(link: ReadyLink) => void>()
        const onReady = (link: ReadyLink): void => {
          for (const listener of listeners) listener(link)
        }
        for (const nic of nics) {
          stores.set(nic.path, yield* EndpointStore.make({ ...options, nic, onReady }))
        }
        const links: Links["Service"] = {
          listen: (listener) =>
            Effect.acquireRelease(
              Effect.sync(() => void listeners.add(listener)),
              () => Effect.sync(() => void listeners.delete(listener))
            ),
          open: (nic, peer) => {
            const store = stores.get(nic.path)
            assert.ok(store !== undefined, `${nic.path} is a NIC of this process`)
            return store.open(peer)
          },
          retire: (link, detail) => {
            const store = stores.get(link.local)
            if (store !== undefined) run(store.retire(link, "broken", detail))
          }
        }
        return Context.make(Endpoints, stores).pipe(Context.add(Links, links))
      })
    )
}
