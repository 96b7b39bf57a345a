/**
 * The observer of a program's simulated fabrics: a simulation controls their time and their faults
 * through it, and records their trace.
 */
import * as Context from "effect/Context"
import type { FabricFault } from "./FabricFault.ts"
import type { DeviceTime } from "./network.ts"

/** A fabric as its observer controls it. */
export interface WatchedFabric {
  strike(fault: FabricFault): boolean
  heal(): void
  crash(host: string): void
}

/** The observer: called for each fabric that is made, and for each line of its trace. */
export interface Watch {
  /** The time of all fabrics. Default: Effect's clock. */
  readonly time?: DeviceTime
  readonly attach: (fabric: WatchedFabric) => void
  readonly note: (text: string) => void
}

export const Watch = Context.Reference<Watch>("handfast/native/sim/Watch", {
  defaultValue: (): Watch => ({ attach: () => undefined, note: () => undefined })
})
