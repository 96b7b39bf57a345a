/**
 * Holds the listeners of a pool, and moves them with its workers.
 *
 * All active workers listen on a port that several threads can share, and the main thread while
 * there are none. An address that only one thread can hold stays with that thread, also when it
 * parks, and moves when the thread has ended: only then is it free.
 */
import type { OpenFailure } from "./messages.ts"
import type { MainThreadDriver } from "./mainThreadDriver.ts"
import type { Opener } from "./openJobs.ts"
import type { TlsSettings } from "./tls.ts"
import type { WorkerDriver } from "./workerDriver.ts"

/** The listeners of one pool. */
export class Listeners {
  /** Those that run in workers, if there are any. */
  readonly #inWorkers = new Set<SharedListener>()
  readonly #main: MainThreadDriver
  readonly #active: () => ReadonlyArray<WorkerDriver>

  constructor(main: MainThreadDriver, active: () => ReadonlyArray<WorkerDriver>) {
    this.#main = main
    this.#active = active
  }

  /** Listens, in all workers or on the main thread, also where a worker had no room. */
  listen(opener: Opener, inWorkers: boolean) {
    const listener = unboundListener(opener)
    if (inWorkers) this.#inWorkers.add(listener)
    const [first] = inWorkers ? this.#active() : []
    const fellBack = first !== undefined && !this.#listenIn(first, listener)
    if (first === undefined || fellBack) this.#listenIn(this.#main, listener)
    const renewCertificates = (tls: TlsSettings): void => {
      listener.opener = { ...listener.opener, job: { ...listener.opener.job, tls } }
      for (const [holder, job] of listener.jobs) holder.renewCertificates(job, tls)
    }
    return { cancel: () => this.#close(listener), renewCertificates, fellBack }
  }

  /** Distributes all listeners to the present workers. */
  distribute(): void {
    for (const listener of this.#inWorkers) this.#distribute(listener)
  }

  /** Removes shared listeners from a worker that parks, but keeps those that it alone can hold. */
  leaveParked(driver: WorkerDriver): void {
    this.distribute()
    for (const listener of this.#inWorkers) {
      const job = listener.jobs.get(driver)
      if (job !== undefined && !isExclusive(listener)) driver.cancel(job)
    }
  }

  close(): void {
    for (const listener of this.#inWorkers) this.#close(listener)
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
        this.#distribute(listener)
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
  #distribute(listener: SharedListener): void {
    if (!listener.isBound || !this.#inWorkers.has(listener)) return
    const alone = isExclusive(listener)
    const isHeld = (): boolean =>
      [...listener.jobs.keys()].some((holder) => alone || !holder.isParked)
    for (const driver of this.#active()) {
      if (listener.jobs.has(driver) || (alone && isHeld())) continue
      this.#listenIn(driver, listener)
    }
    if (!isHeld()) this.#listenIn(this.#main, listener)
  }

  /** Ends the share of the main thread, once a worker listens. */
  #leaveMain(listener: SharedListener): void {
    const onMain = listener.jobs.get(this.#main)
    if (onMain === undefined || isExclusive(listener) || !this.#inWorkers.has(listener)) return
    const isShared = this.#active().some((driver) => driver.isListening(listener.jobs.get(driver)))
    if (isShared && this.#main.isListening(onMain)) this.#main.cancel(onMain)
  }

  /** Ends a listener once every thread has answered that it accepts no more. */
  #close(listener: SharedListener): void {
    this.#inWorkers.delete(listener)
    listener.isClosing = true
    if (listener.jobs.size === 0) {
      this.#end(listener, { step: "listen", code: "", detail: "closed" })
    } else for (const [holder, job] of listener.jobs) holder.cancel(job)
  }

  #end(listener: SharedListener, failure: OpenFailure): void {
    this.#inWorkers.delete(listener)
    listener.opener.failed(failure)
  }
}

/** A thread that may listen. */
interface Holder {
  /** Takes no new connections. */
  readonly isParked: boolean
  /** The number of the job, or undefined when there is no room for it. */
  readonly open: (opener: Opener) => number | undefined
  readonly cancel: (job: number) => void
  readonly renewCertificates: (job: number, tls: TlsSettings) => void
}

interface SharedListener {
  opener: Opener
  /** The job of each thread that listens, is about to, or has not ended it yet. */
  readonly jobs: Map<Holder, number>
  /** A thread listens, or did. */
  isBound: boolean
  isClosing: boolean
  /** The port that the first thread got; 0 before, and for a path. */
  port: number
}

/** A listener that no thread holds yet. */
const unboundListener = (opener: Opener): SharedListener => ({
  opener,
  jobs: new Map(),
  isBound: false,
  isClosing: false,
  port: 0
})

/** Whether only one thread at a time can listen at the address. */
const isExclusive = ({ opener: { job } }: SharedListener): boolean =>
  job.kind === "listen" && !job.reusePort

/** The job of a listener, on the port that its first thread got. */
const boundJob = ({ opener: { job }, port }: SharedListener): Opener["job"] =>
  port > 0 && job.kind === "listen" && "host" in job.endpoint
    ? { ...job, endpoint: { ...job.endpoint, port } }
    : job
