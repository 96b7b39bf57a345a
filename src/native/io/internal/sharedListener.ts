/**
 * A listener that all active workers share: by one port that each of them listens on, or held
 * by one thread for all. The main thread holds it while there is no worker.
 */
import type { Opener } from "./opener.ts"

/** A thread that may listen. */
export interface Holder {
  /** Takes no new connections. */
  readonly parked: boolean
  /** The number of the job, or undefined when there is no room for it. */
  readonly open: (opener: Opener) => number | undefined
  readonly cancel: (job: number) => void
}

export interface SharedListener {
  readonly opener: Opener
  /** The job of each thread that listens, is about to, or has not let go of it yet. */
  readonly jobs: Map<Holder, number>
  /** A thread listens, or did. */
  isBound: boolean
  isClosing: boolean
  /** The port that the first thread got; 0 before, and for a path. */
  port: number
}

/** A listener that no thread holds yet. */
export const shared = (opener: Opener): SharedListener => ({
  opener,
  jobs: new Map(),
  isBound: false,
  isClosing: false,
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
