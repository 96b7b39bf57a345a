/**
 * Measures how busy a worker is.
 */
import type { EventLoopUtilization } from "node:perf_hooks"
import type { Worker } from "node:worker_threads"

/** The load of one worker. Its start is no load of lanes, so measuring begins once it is up. */
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
