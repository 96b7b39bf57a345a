/**
 * Decides from samples of load when another worker starts and when one parks.
 *
 * Starting needs a few busy samples in a row, parking many idle ones, and the two thresholds
 * lie far apart, so a load that swings around one of them changes nothing.
 */
import type { EventLoopUtilization } from "node:perf_hooks"
import type { Worker } from "node:worker_threads"
export interface LoadSettings {
  readonly min: number
  readonly max: number
  /** Average share of busy time above which a sample counts as busy. */
  readonly startAbove: number
  /** Share below which a sample counts as idle. */
  readonly parkBelow: number
  readonly busySamples: number
  readonly idleSamples: number
}

export interface LoadState {
  readonly busy: number
  readonly idle: number
}

export const calm: LoadState = { busy: 0, idle: 0 }

/** One sample: the next state, and by how many the active workers change. */
export const sampleLoad = (
  settings: LoadSettings,
  state: LoadState,
  active: number,
  utilization: number
): readonly [LoadState, -1 | 0 | 1] => {
  if (active < settings.min) return [calm, 1]
  if (active > settings.max) return [calm, -1]
  const busy = utilization > settings.startAbove ? state.busy + 1 : 0
  const idle = utilization < settings.parkBelow ? state.idle + 1 : 0
  if (busy >= settings.busySamples && active < settings.max) return [calm, 1]
  if (idle >= settings.idleSamples && active > settings.min) return [calm, -1]
  return [{ busy, idle }, 0]
}

/** The load of one worker. Its start-up does not count, so measuring begins once it is up. */
export class WorkerLoad {
  readonly #worker: Worker
  #last: EventLoopUtilization | undefined

  constructor(worker: Worker) {
    this.#worker = worker
    worker.once("message", () => (this.#last = worker.performance.eventLoopUtilization()))
  }

  /** The share of the time since the last call that the worker was busy, 0 to 1. */
  sample(): number {
    const before = this.#last
    if (before === undefined) return 0
    const { performance } = this.#worker
    this.#last = performance.eventLoopUtilization()
    return performance.eventLoopUtilization(this.#last, before).utilization
  }
}
