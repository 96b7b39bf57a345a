/**
 * Owns the listeners of a pool, and moves them with its workers.
 *
 * A port that several threads can listen on is listened on by all active workers, and by the main
 * thread while there are none. An address that one thread holds for all stays with that thread,
 * also when it parks, and moves when the thread crashes: only then is it free.
 */
import type { MainPath } from "./mainPath.ts"
import type { Opener } from "./opener.ts"
import { boundJob, isAlone, shared, type SharedListener } from "./sharedListener.ts"
import type { WorkerLink } from "./workerLink.ts"

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
    const [first] = this.#active()
    const isTried = inWorkers && first !== undefined
    if (inWorkers) this.#moving.add(listener)
    const fellBack = isTried && !this.#listenIn(first, listener)
    if (!isTried || fellBack) this.#listenOnMain(listener)
    return { cancel: () => this.#unlisten(listener), fellBack }
  }

  /** Brings all to the workers that there are. */
  spread(): void {
    for (const listener of this.#moving) this.#spread(listener)
  }

  /** Leaves a worker that parks, except what it holds for all. */
  leave(link: WorkerLink): void {
    this.spread()
    for (const listener of this.#moving) {
      if (!isAlone(listener)) this.#unlistenIn(link, listener)
    }
  }

  /** The worker is gone. */
  forget(link: WorkerLink): void {
    for (const listener of this.#moving) listener.jobs.delete(link)
  }

  close(): void {
    for (const listener of this.#moving) this.#unlisten(listener)
  }

  /** Listens in one more worker; false when it has no room for the job. */
  #listenIn(link: WorkerLink, listener: SharedListener): boolean {
    const job = link.open(this.#listening(listener, () => listener.jobs.delete(link)))
    if (job !== undefined) listener.jobs.set(link, job)
    return job !== undefined
  }

  #listenOnMain(listener: SharedListener): void {
    const lost = (): void => void (listener.onMain = undefined)
    listener.onMain = this.#main.open(this.#listening(listener, lost))
  }

  /** The opener of one thread's share; the first one answers for the listener. */
  #listening(listener: SharedListener, lost: () => void): Opener {
    const { opener } = listener
    const isFirst = !listener.isBound
    return {
      ...opener,
      job: boundJob(listener),
      listening: (address, port) => {
        if (isFirst) {
          listener.isBound = true
          listener.port = port
          opener.listening(address, port)
        }
        this.#spread(listener)
        this.#leaveMain(listener)
      },
      failed: (failure) => {
        lost()
        if (!isFirst) return
        this.#moving.delete(listener)
        opener.failed(failure)
      }
    }
  }

  /** Brings a bound listener to every worker that may share it, or to the main thread. */
  #spread(listener: SharedListener): void {
    if (!listener.isBound || !this.#moving.has(listener)) return
    const alone = isAlone(listener)
    const isHeld = (): boolean =>
      listener.onMain !== undefined ||
      [...listener.jobs.keys()].some((link) => alone || !link.parked)
    for (const link of this.#active()) {
      if (listener.jobs.has(link) || (alone && isHeld())) continue
      this.#listenIn(link, listener)
    }
    if (!isHeld()) this.#listenOnMain(listener)
  }

  /** The main thread lets go of what workers share, once one of them listens. */
  #leaveMain(listener: SharedListener): void {
    const { onMain } = listener
    if (onMain === undefined || isAlone(listener) || !this.#moving.has(listener)) return
    const isShared = this.#active().some((link) => link.isListening(listener.jobs.get(link)))
    if (!isShared || !this.#main.isListening(onMain)) return
    listener.onMain = undefined
    this.#main.unlisten(onMain)
  }

  #unlisten(listener: SharedListener): void {
    this.#moving.delete(listener)
    for (const link of listener.jobs.keys()) this.#unlistenIn(link, listener)
    if (listener.onMain === undefined) return
    this.#main.cancel(listener.onMain)
    this.#main.unlisten(listener.onMain)
  }

  #unlistenIn(link: WorkerLink, listener: SharedListener): void {
    const job = listener.jobs.get(link)
    listener.jobs.delete(link)
    if (job === undefined) return
    link.cancel(job)
    link.unlisten(job)
  }
}
