/** The provider for machines without an RDMA card: iWARP over ordinary TCP. */
import * as Effect from "effect/Effect"
import { networkInterfaces } from "node:os"
import { IoPool } from "../io/IoPool.ts"
import type { Provider } from "../verbs/Verbs.ts"
import { opening } from "../verbs/provider/open.ts"
import { devices, open } from "./device.ts"
import { hasAddress } from "./interfaces.ts"
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
    open: opening({
      there: devices,
      open: (device, reach) => open(device, pool, resolve(settings), reach),
      has: ({ name }, host) => hasAddress(networkInterfaces(), name, host)
    })
  }))
