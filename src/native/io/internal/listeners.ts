/**
 * Owns the listeners of a pool, and moves them with its workers.
 *
 * A port that several threads can listen on is listened on by all active workers, and by the main
 * thread while there are none. An address that one thread holds for all stays with that thread,
 * also when it parks, and moves when the thread is gone: only then is it free.
 */
import type { OpenFailure } from "./messages.ts"
import type { MainPath } from "./mainThreadDriver.ts"
import type { Opener } from "./opener.ts"
import { boundJob, type Holder, isAlone, shared, type SharedListener } from "./sharedListener.ts"
import type { WorkerLink } from "./workerDriver.ts"

/** The listeners of one pool. */
export class Listeners {
  /** Those that live in workers where there are any. */
  readonly #moving = new Set<SharedListener>()
  readonly #main: MainPath
  readonly #active: () => ReadonlyArray<WorkerLink>

  constructor(main: MainPath, active: () => ReadonlyArray<WorkerLink>) {
    this.#main = main
    this.#active = active
  }

  /** Listens, in all workers or on the main thread, also where a worker had no room. */
  listen(opener: Opener, inWorkers: boolean) {
    const listener = shared(opener)
    if (inWorkers) this.#moving.add(listener)
    const [first] = inWorkers ? this.#active() : []
    const fellBack = first !== undefined && !this.#listenIn(first, listener)
    if (first === undefined || fellBack) this.#listenIn(this.#main, listener)
    return { cancel: () => this.#close(listener), fellBack }
  }

  /** Brings all to the workers that there are. */
  spread(): void {
    for (const listener of this.#moving) this.#spread(listener)
  }

  /** Leaves a worker that parks, except what it holds for all. */
  leave(link: WorkerLink): void {
    this.spread()
    for (const listener of this.#moving) {
      const job = listener.jobs.get(link)
      if (job !== undefined && !isAlone(listener)) link.cancel(job)
    }
  }

  close(): void {
    for (const listener of this.#moving) this.#close(listener)
  }

  /** Listens in one more thread; false when it has no room for the job. */
  #listenIn(holder: Holder, listener: SharedListener): boolean {
    const job = holder.open(this.#share(holder, listener))
    if (job !== undefined) listener.jobs.set(holder, job)
    return job !== undefined
  }

  /** The opener of one thread's share; the first one answers for the listener. */
  #share(holder: Holder, listener: SharedListener): Opener {
    const { opener } = listener
    return {
      ...opener,
      job: boundJob(listener),
      listening: (address, port) => {
        if (!listener.isBound) {
          listener.isBound = true
          listener.port = port
          opener.listening(address, port)
        }
        this.#spread(listener)
        this.#leaveMain(listener)
      },
      failed: (failure) => {
        listener.jobs.delete(holder)
        if (!listener.isBound) this.#end(listener, failure)
        else if (listener.isClosing && listener.jobs.size === 0) this.#end(listener, failure)
      }
    }
  }

  /** Brings a bound listener to every worker that may share it, or to the main thread. */
  #spread(listener: SharedListener): void {
    if (!listener.isBound || !this.#moving.has(listener)) return
    const alone = isAlone(listener)
    const isHeld = (): boolean =>
      [...listener.jobs.keys()].some((holder) => alone || !holder.parked)
    for (const link of this.#active()) {
      if (listener.jobs.has(link) || (alone && isHeld())) continue
      this.#listenIn(link, listener)
    }
    if (!isHeld()) this.#listenIn(this.#main, listener)
  }

  /** The main thread lets go of what workers share, once one of them listens. */
  #leaveMain(listener: SharedListener): void {
    const onMain = listener.jobs.get(this.#main)
    if (onMain === undefined || isAlone(listener) || !this.#moving.has(listener)) return
    const isShared = this.#active().some((link) => link.isListening(listener.jobs.get(link)))
    if (isShared && this.#main.isListening(onMain)) this.#main.cancel(onMain)
  }

  /** Ends a listener once every thread has answered that it accepts no more. */
  #close(listener: SharedListener): void {
    this.#moving.delete(listener)
    listener.isClosing = true
    if (listener.jobs.size === 0) {
      this.#end(listener, { step: "listen", code: "", detail: "closed" })
    } else for (const [holder, job] of listener.jobs) holder.cancel(job)
  }

  #end(listener: SharedListener, failure: OpenFailure): void {
    this.#moving.delete(listener)
    listener.opener.failed(failure)
  }
}
