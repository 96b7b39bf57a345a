/**
 * A listener that all active workers share: by one port that each of them listens on, or held
 * by one thread for all. The main thread holds it while there is no worker.
 */
import type { Opener } from "./opener.ts"
import type { WorkerLink } from "./workerLink.ts"

export interface SharedListener {
  readonly opener: Opener
  /** Its job on the main thread, where it goes when no worker is left. */
  onMain: number | undefined
  readonly jobs: Map<WorkerLink, number>
  /** A thread listens, or did. */
  isBound: boolean
  /** The port that the first thread got; 0 before, and for a path. */
  port: number
}

/** A listener that no thread holds yet. */
export const shared = (opener: Opener): SharedListener => ({
  opener,
  onMain: undefined,
  jobs: new Map(),
  isBound: false,
  port: 0
})

/** Whether only one thread at a time can listen there. */
export const isAlone = ({ opener: { job } }: SharedListener): boolean =>
  job.kind === "listen" && !job.reusePort

/** The job of a listener, on the port that its first thread got. */
export const boundJob = ({ opener: { job }, port }: SharedListener): Opener["job"] =>
  port > 0 && job.kind === "listen" && "host" in job.endpoint
    ? { ...job, endpoint: { ...job.endpoint, port } }
    : job
