/**
 * The RDMA devices of this machine, through libibverbs and librdmacm: InfiniBand, RoCE, and Linux's
 * devices in software. On Linux, x64 or arm64, with the package koffi.
 *
 * Nothing is loaded before a device is asked for. What is missing is then an `Unsupported` that
 * says what to do.
 */
import * as Layer from "effect/Layer"
import { Verbs } from "../verbs/Verbs.ts"
import { makeProvider } from "./device.ts"
import type { Settings } from "./settings.ts"

export type { Settings } from "./settings.ts"

/** Provides the devices of this machine. */
export const layer = (settings: Settings = {}): Layer.Layer<Verbs> =>
  Layer.sync(Verbs, () => makeProvider(settings))
