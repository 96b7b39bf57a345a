/** The network interfaces of this machine as RDMA devices, by iWARP over ordinary TCP. */

import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { IoPool } from "../io/IoPool.ts"
import type { SettingsRefused } from "../io/PoolError.ts"
import { checkRanges } from "../io/settingRanges.ts"
import { Verbs } from "../verbs/Verbs.ts"
import { makeProvider } from "./device.ts"
import { poolOf, ranges, type Settings } from "./settings.ts"

export type { Settings } from "./settings.ts"

/**
 * Provides the interfaces of this machine, with a pool of workers that hold the sockets. Settings
 * out of their range are refused before anything starts.
 */
export const layer = (settings: Settings = {}): Layer.Layer<Verbs, SettingsRefused> =>
  Layer.unwrap(
    Effect.as(
      checkRanges(settings, ranges),
      Layer.effect(Verbs, makeProvider(settings)).pipe(
        Layer.provide(IoPool.layer(poolOf(settings.pool)))
      )
    )
  )
