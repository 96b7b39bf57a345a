/** Counts the work of one NIC, and reports it by the batch to metrics and to progress streams. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Metrics from "../TransferMetrics.ts"
import type { Job } from "./job.ts"

const writes = Metric.withAttributes(Metrics.movedBytes, { direction: "write" })
const reads = Metric.withAttributes(Metrics.movedBytes, { direction: "read" })

export class TransferCounters {
  readonly #context: Context.Context<never>
  /** Jobs with progress in this batch. */
  readonly #unreported: Array<Job> = []
  #written = 0
  #read = 0
  #slices = 0
  #failed = 0

  constructor(context: Context.Context<never>) {
    this.#context = context
  }

  moved(job: Job, operation: number, length: number): void {
    this.#slices += 1
    if (job.plans[operation]!.isWrite) this.#written += length
    else this.#read += length
    if (!job.hasUnreportedProgress) this.#unreported.push(job)
    job.hasUnreportedProgress = true
  }

  failed(): void {
    this.#failed += 1
  }

  /** Reports the batch. */
  publish(): void {
    if (this.#written > 0) writes.updateUnsafe(this.#written, this.#context)
    if (this.#read > 0) reads.updateUnsafe(this.#read, this.#context)
    if (this.#slices > 0) Metrics.slices.updateUnsafe(this.#slices, this.#context)
    if (this.#failed > 0) Metrics.failedSlices.updateUnsafe(this.#failed, this.#context)
    this.#written = this.#read = this.#slices = this.#failed = 0
    for (const job of this.#unreported) {
      job.hasUnreportedProgress = false
      for (const tell of job.watchers) tell()
    }
    this.#unreported.length = 0
  }
}
