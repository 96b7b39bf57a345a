/** The provider of one simulated host. */
import * as Effect from "effect/Effect"
import type { Provider } from "../Verbs.ts"
import { DeviceNotFound } from "../verbs/VerbsError.ts"
import { infoOf, open } from "./device.ts"
import type { HostOptions, SimFabric } from "./SimFabric.ts"

/** The devices of a host, as a provider. */
export const makeSim = (fabric: SimFabric, options: HostOptions): Provider => {
  const nics = fabric.plug(options)
  return {
    name: "sim",
    capabilities: {
      atomics: true,
      writeImmediate: true,
      remoteInvalidate: true,
      acknowledges: true,
      rnrRetries: true
    },
    devices: Effect.sync(() =>
      nics.filter((nic) => !nic.network.isRemoved(nic)).map((nic) => infoOf(nic))
    ),
    open: (name) =>
      Effect.suspend(() => {
        const there = nics.filter((nic) => !nic.network.isRemoved(nic))
        const nic = name === undefined ? there[0] : there.find((nic) => nic.name === name)
        if (nic !== undefined) return open(nic)
        const available = there.map(({ name }) => name)
        return Effect.fail(new DeviceNotFound({ device: name ?? "at all", available }))
      })
  }
}
