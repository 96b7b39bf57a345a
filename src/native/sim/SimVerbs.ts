/** RDMA devices of one host on a simulated fabric. */

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Provider, Verbs } from "../verbs/Verbs.ts"
import { openByNameOrAddress } from "../verbs/provider/create.ts"
import { infoOf, open } from "./device.ts"
import type { HostOptions, SimFabric } from "./SimFabric.ts"

/** Plugs the devices of one host into a fabric, and provides them. */
export const layer = (fabric: SimFabric, options: HostOptions = {}): Layer.Layer<Verbs> =>
  Layer.sync(Verbs, (): Provider => {
    const nics = fabric.plug(options)
    const there = () => nics.filter((nic) => !nic.network.isRemoved(nic))
    return {
      name: "sim",
      capabilities: {
        atomics: true,
        writeImmediate: true,
        remoteInvalidate: true,
        acknowledges: options.acknowledges ?? true,
        rnrRetries: true,
        randomKeys: true
      },
      devices: Effect.sync(() => there().map((nic) => infoOf(nic))),
      open: openByNameOrAddress({ list: there, open: (nic) => open(nic) }),
      // All devices are on one fabric.
      route: () => Effect.sync(() => there()[0]?.name)
    }
  })
