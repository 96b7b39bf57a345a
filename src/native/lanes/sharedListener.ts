/**
 * A listener that all active workers share: by one port that each of them listens on, or held
 * by one of them for all, or by the main thread when no worker is left.
 */
import type { Opener } from "./opener.ts"
import type { WorkerLink } from "./workerLink.ts"

export interface SharedListener {
  readonly opener: Opener
  /** Its job on the main thread, where it goes when no worker is left. */
  onMain: number | undefined
  readonly jobs: Map<WorkerLink, number>
  /** The port that the first worker got, 0 before. */
  port: number
  closed: boolean
}

/** A listener that nobody holds yet. */
export const shared = (opener: Opener): SharedListener => ({
  opener,
  onMain: undefined,
  jobs: new Map(),
  port: 0,
  closed: false
})

/** The job of a listener, on the port that its first worker got. */
export const boundJob = ({ opener: { job }, port }: SharedListener): Opener["job"] =>
  port > 0 && job.kind === "listen" && "host" in job.endpoint
    ? { ...job, endpoint: { ...job.endpoint, port } }
    : job
