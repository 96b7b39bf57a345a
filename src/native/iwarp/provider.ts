/** The provider for machines without an RDMA card: iWARP over ordinary TCP. */
import * as Effect from "effect/Effect"
import { IoPool } from "../IoPool.ts"
import type { Provider } from "../Verbs.ts"
import { DeviceNotFound } from "../verbs/VerbsError.ts"
import { devices, open } from "./device.ts"
import { resolve, type Settings } from "./settings.ts"

/** The interfaces of this machine, as a provider. */
export const makeIwarp = (settings: Settings): Effect.Effect<Provider, never, IoPool> =>
  Effect.map(IoPool, (pool) => ({
    name: "iwarp",
    capabilities: {
      atomics: true,
      writeImmediate: true,
      remoteInvalidate: true,
      acknowledges: false,
      rnrRetries: false
    },
    devices: Effect.sync(devices),
    open: (name) =>
      Effect.suspend(() => {
        const there = devices()
        const found = name === undefined ? there[0] : there.find((device) => device.name === name)
        if (found !== undefined) return open(found.name, pool, resolve(settings))
        const available = there.map(({ name }) => name)
        return Effect.fail(new DeviceNotFound({ device: name ?? "at all", available }))
      })
  }))
