/** The provider of one simulated host. */
import * as Effect from "effect/Effect"
import type { Provider } from "../verbs/Verbs.ts"
import { opening } from "../verbs/provider/open.ts"
import { infoOf, open } from "./device.ts"
import type { HostOptions, SimFabric } from "./SimFabric.ts"

/** The devices of a host, as a provider. */
export const makeSim = (fabric: SimFabric, options: HostOptions): Provider => {
  const nics = fabric.plug(options)
  const there = () => nics.filter((nic) => !nic.network.isRemoved(nic))
  return {
    name: "sim",
    capabilities: {
      atomics: true,
      writeImmediate: true,
      remoteInvalidate: true,
      acknowledges: true,
      rnrRetries: true
    },
    devices: Effect.sync(() => there().map((nic) => infoOf(nic))),
    open: opening({ there, open: (nic) => open(nic) })
  }
}
