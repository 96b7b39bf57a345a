/**
 * Detects pending work of a run outside of Effect: promises, ticks, and work of the platform's
 * thread pool, such as a digest. Virtual time must not jump while there is any.
 *
 * Node's hooks report each asynchronous resource when it is made and called back, and
 * `AsyncLocalStorage` gives its run. A program that uses none of this pays nothing.
 */
import { AsyncLocalStorage, createHook } from "node:async_hooks"

/** Resources within one turn of the event loop that no program needs: some tenths of a second. */
const manyResources = 1_000_000

/** The work of one run that is pending outside of Effect. */
export class Outside {
  readonly #onMany: () => void
  #made = 0

  /** `onMany` is called after each million of resources that one turn of the event loop makes. */
  constructor(onMany: () => void) {
    this.#onMany = onMany
  }

  /** Called after a turn of the event loop. */
  turned(): void {
    this.#made = 0
  }

  /** Counts a resource that was made. */
  made(): void {
    this.stirred = true
    if (++this.#made % manyResources === 0) this.#onMany()
  }

  /** Whether promises or callbacks of the run have run since the last turn of the event loop. */
  stirred = false
  readonly requests = new Set<number>()
  readonly streams = new Set<Stream>()

  /** Whether the thread pool works for the run. */
  get isWorking(): boolean {
    for (const stream of this.streams) if (stream.buffer != null) return true
    return this.requests.size > 0
  }

  /** Watches all resources that `f` makes, until `close`. */
  run(f: () => void): void {
    if (watched++ === 0) hook.enable()
    runs.run(this, f)
  }

  close(): void {
    if (--watched === 0) hook.disable()
    for (const id of this.requests) requests.delete(id)
    if (requests.size === 0) requestHook.disable()
  }
}

/** A handle of `node:zlib`: it keeps the chunk that the thread pool works on, and is reused. */
interface Stream {
  readonly buffer?: unknown
}

const runs = new AsyncLocalStorage<Outside>()
const requests = new Map<number, Outside>()
let watched = 0

/** Resources that call back once: digests, keys, random bytes; files if they are allowed. */
const isRequest = (type: string): boolean => /REQUEST$|^FSREQ/.test(type)

const done = (id: number): void => {
  const outside = requests.get(id)
  if (outside === undefined) return
  requests.delete(id)
  outside.requests.delete(id)
  outside.stirred = true
  if (requests.size === 0) requestHook.disable()
}

/** Every fiber makes one. It is not outside of Effect: its steps are tasks of the simulator. */
const fiberResource = "effect/Fiber"

const hook = createHook({
  init: (id, type, _trigger, resource) => {
    if (type === fiberResource) return
    const outside = runs.getStore()
    if (outside === undefined) return
    outside.made()
    if (type === "ZLIB") outside.streams.add(resource)
    else if (isRequest(type)) {
      outside.requests.add(id)
      requests.set(id, outside)
      requestHook.enable()
    }
  },
  promiseResolve: () => {
    const outside = runs.getStore()
    if (outside !== undefined) outside.stirred = true
  }
})

/**
 * Notices the end of a request: its call, or that it is destroyed without one. Node reports both of
 * every resource, fibers too, and has the garbage collector watch them, so this is on only while a
 * request is open.
 */
const requestHook = createHook({ before: done, destroy: done })
