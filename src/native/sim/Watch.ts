/**
 * Who looks at the simulated fabrics of a program: a simulation hangs its faults and its trace in
 * here, and the fabric knows nothing of it.
 */
import * as Context from "effect/Context"
import type { SimFabric } from "./SimFabric.ts"

/**
 * The time of simulated devices, in milliseconds. It is exact: a device has no event loop whose
 * timers are late.
 */
export interface DeviceTime {
  readonly now: () => number
  /** Calls `act` later, never at once. */
  readonly after: (millis: number, act: () => void) => void
}

/** What is told: that there is a fabric, and what happens in it, line by line. */
export interface Watch {
  /** The time of all fabrics. Default: Effect's clock. */
  readonly time?: DeviceTime
  readonly attach: (fabric: SimFabric) => void
  readonly note: (text: string) => void
}

export const Watch = Context.Reference<Watch>("handfast/native/sim/Watch", {
  defaultValue: (): Watch => ({ attach: () => undefined, note: () => undefined })
})
