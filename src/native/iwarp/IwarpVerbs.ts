/** The network interfaces of this machine as RDMA devices, by iWARP over ordinary TCP. */
import * as Layer from "effect/Layer"
import { IoPool } from "../io/IoPool.ts"
import type { SettingsRefused } from "../io/PoolError.ts"
import { Verbs } from "../verbs/Verbs.ts"
import { makeProvider } from "./device.ts"
import { poolOf, type Settings } from "./settings.ts"

export type { Settings } from "./settings.ts"

/** Provides the interfaces of this machine, with a pool of workers that hold the sockets. */
export const layer = (settings: Settings = {}): Layer.Layer<Verbs, SettingsRefused> =>
  Layer.effect(Verbs, makeProvider(settings)).pipe(
    Layer.provide(IoPool.layer(poolOf(settings.pool)))
  )
