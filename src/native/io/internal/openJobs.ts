/**
 * The open jobs of one thread. A job that opens a connection is answered once, by `opened` or
 * `failed`. A listener answers `listening` in between, and `failed` once it accepts no more.
 */
import type { OpenFailure, OpenJob } from "./messages.ts"
import type { LaneHandle } from "./laneHandle.ts"

export class OpenJobs {
  readonly #pending = new Map<number, Opener>()
  readonly #listening = new Map<number, Opener>()
  #last = 0

  /** Jobs that have no answer yet. */
  get out(): number {
    return this.#pending.size
  }

  /** Jobs without an answer, and listeners. */
  get size(): number {
    return this.#pending.size + this.#listening.size
  }

  /** Returns the job's number. */
  add(opener: Opener): number {
    this.#pending.set(++this.#last, opener)
    return this.#last
  }

  isListening(job: number): boolean {
    return this.#listening.has(job)
  }

  /** The opener for which a connection is accepted. */
  listener(job: number): Opener | undefined {
    return this.#listening.get(job)
  }

  /** Takes a job that has opened its connection. */
  opened(job: number): Opener | undefined {
    const opener = this.#pending.get(job)
    this.#pending.delete(job)
    return opener
  }

  listening(job: number, address: string, port: number): void {
    const opener = this.opened(job)
    if (opener === undefined) return
    this.#listening.set(job, opener)
    opener.listening(address, port)
  }

  failed(job: number, failure: OpenFailure): void {
    const opener = this.#pending.get(job) ?? this.#listening.get(job)
    this.#pending.delete(job)
    this.#listening.delete(job)
    opener?.failed(failure)
  }

  /**
   * Fails connections of a thread that no longer answers; its listeners accept until it has ended.
   */
  failConnections(failure: OpenFailure): void {
    for (const [job, opener] of this.#pending) {
      if (opener.job.kind !== "listen") this.failed(job, failure)
    }
  }

  /** Fails all jobs of a thread that has ended. */
  failAll(failure: OpenFailure): void {
    for (const job of [...this.#pending.keys(), ...this.#listening.keys()]) {
      this.failed(job, failure)
    }
  }
}

/** A job and its answers, none of which comes within the call that dispatches it. */
export interface Opener {
  readonly job: OpenJob
  readonly takesCommands: boolean
  readonly opened: (handle: LaneHandle) => void
  readonly listening: (address: string, port: number) => void
  readonly accepted: (handle: LaneHandle) => void
  /** The last answer of a listener, and of a job that opens no connection. */
  readonly failed: (failure: OpenFailure) => void
}
