/**
 * The main thread's side of an open journal file: collects the requests of one turn of the event
 * loop into one message, and delivers the answers in slices so that no turn gets long.
 *
 * The number of requests with the worker is limited. More wait here in order, and their callers
 * with them: a journal that cannot keep up slows its writers down.
 */
import { Worker } from "node:worker_threads"
import type { Append } from "../../schema/JournalRecord.ts"
import { workerModule } from "../io/workerModule.ts"
import type {
  AppendBatch,
  Ask,
  Failure,
  FromWorker,
  OpenFile,
  Operation,
  Operations,
  Outcome,
  Refusal,
  ToWorker
} from "./protocol.ts"

/** Limits of the work that is with the worker at once. */
export interface QueueLimits {
  readonly appends: number
  readonly bytes: number
}

type Done = (failure: Failure | undefined) => void

interface Waiting {
  readonly request: Append
  readonly done: Done
}

interface Sent {
  readonly batch: number
  readonly bytes: number
  readonly appends: ReadonlyArray<Waiting>
}

/**
 * Appends whose callers are resumed in one turn of the loop: some hundred microseconds of their
 * work, so that sockets and timers get their turn in between.
 */
const resumedAtOnce = 64

/** Node fires longer timers at once. */
const longestTimerMillis = 2 ** 31 - 1

const closedBecause = (detail: string): Failure => ({ kind: "storage", reason: "closed", detail })

/** One open journal file. */
export class JournalConnection {
  readonly #worker: Worker
  readonly #limits: QueueLimits
  #waiting: Array<Waiting> = []
  #asks: Array<Ask> = []
  readonly #answers = new Map<number, (outcome: Outcome) => void>()
  readonly #sent: Array<Sent> = []
  #sentAppends = 0
  #sentBytes = 0
  /** Callers whose answer has come and that are not resumed yet. */
  #settled: Array<Done> = []
  #nextBatch = 1
  #nextAsk = 1
  #isFlushing = false
  #isResuming = false
  #ended: Failure | undefined
  #isReferenced = false
  #onIdle: (() => void) | undefined
  #onExit: (() => void) | undefined

  constructor(worker: Worker, limits: QueueLimits) {
    this.#worker = worker
    this.#limits = limits
    worker.on("message", (message: FromWorker) => this.#receive(message))
    worker.on("error", (cause) => this.#end(closedBecause(`the worker crashed: ${cause}`)))
    worker.on("exit", () => {
      this.#end(closedBecause("the worker has ended"))
      this.#onExit?.()
    })
    worker.unref()
  }

  /** Stores events; `done` is called once, when they survive or when they failed. */
  append(request: Append, done: Done) {
    if (this.#ended !== undefined) return done(this.#ended)
    this.#waiting.push({ request, done })
    this.#scheduleFlush()
  }

  /** Requests any other operation. */
  ask<K extends Operation>(
    operation: K,
    ask: Operations[K]["ask"],
    done: (answer: Operations[K]["answer"] | undefined, failure: Failure | undefined) => void
  ) {
    if (this.#ended !== undefined) return done(undefined, this.#ended)
    const id = this.#nextAsk++
    // The worker answers a request with the answer of the same operation.
    this.#asks.push({ id, operation, ask } as Ask)
    this.#answers.set(id, (outcome) => {
      if ("failure" in outcome) done(undefined, outcome.failure)
      else done(outcome.answer as Operations[K]["answer"], undefined)
    })
    this.#scheduleFlush()
  }

  /**
   * Finishes accepted requests, closes the file and waits until the worker has ended by itself.
   * After `withinMillis` it waits no longer; unanswered requests then fail.
   */
  close(withinMillis: number, done: () => void) {
    const isBounded = withinMillis <= longestTimerMillis
    const timer = isBounded ? setTimeout(() => finish(), withinMillis) : undefined
    const finish = () => {
      clearTimeout(timer)
      this.#onExit = undefined
      this.#end(closedBecause("the journal was closed"))
      this.#worker.unref()
      done()
    }
    if (this.#ended !== undefined) return finish()
    this.#onExit = finish
    this.#onIdle = () => {
      this.#onIdle = undefined
      this.#worker.postMessage("close" satisfies ToWorker)
    }
    this.#scheduleFlush()
  }

  #scheduleFlush() {
    if (!this.#isReferenced) {
      // An unfinished operation keeps the process alive, an idle journal does not.
      this.#isReferenced = true
      this.#worker.ref()
    }
    if (this.#isFlushing) return
    this.#isFlushing = true
    setImmediate(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  #flush() {
    const appends = this.#takeAppends()
    if (appends.length > 0 || this.#asks.length > 0) {
      const batch = this.#nextBatch++
      const bytes = appends.reduce((sum, { request }) => sum + bytesOf(request), 0)
      if (appends.length > 0) this.#sent.push({ batch, bytes, appends })
      this.#sentAppends += appends.length
      this.#sentBytes += bytes
      const append = appends.length === 0 ? null : toColumns(appends)
      this.#worker.postMessage({ batch, append, asks: this.#asks } satisfies ToWorker)
      this.#asks = []
    }
    this.#rest()
  }

  /** Takes the appends that fit into the worker's limits; one append always does. */
  #takeAppends(): ReadonlyArray<Waiting> {
    let count = this.#sentAppends
    let bytes = this.#sentBytes
    let end = 0
    for (const { request } of this.#waiting) {
      const more = bytesOf(request)
      const fits = count < this.#limits.appends && bytes + more <= this.#limits.bytes
      if (!fits && count > 0) break
      count++
      bytes += more
      end++
    }
    if (end === this.#waiting.length) {
      const all = this.#waiting
      this.#waiting = []
      return all
    }
    return this.#waiting.splice(0, end)
  }

  #receive(message: FromWorker) {
    if (!("decided" in message)) return
    const failures = new Map<string, Failure>()
    for (const [batch, index, failure] of message.refused)
      failures.set(`${batch} ${index}`, failure)
    while (this.#sent.length > 0 && this.#sent[0]!.batch <= message.decided) {
      const { appends, batch, bytes } = this.#sent.shift()!
      this.#sentAppends -= appends.length
      this.#sentBytes -= bytes
      for (let index = 0; index < appends.length; index++) {
        const { done } = appends[index]!
        const failure = failures.size === 0 ? undefined : failures.get(`${batch} ${index}`)
        this.#settled.push(failure === undefined ? done : () => done(failure))
      }
    }
    for (const [id, outcome] of message.outcomes) {
      const answer = this.#answers.get(id)
      this.#answers.delete(id)
      if (answer !== undefined) this.#settled.push(() => answer(outcome))
    }
    if (this.#waiting.length > 0) this.#scheduleFlush()
    if (!this.#isResuming) this.#resume()
  }

  #resume() {
    const slice = this.#settled.splice(0, resumedAtOnce)
    for (const done of slice) done(undefined)
    this.#isResuming = this.#settled.length > 0
    if (this.#isResuming) setImmediate(() => this.#resume())
    else this.#rest()
  }

  #rest() {
    const isBusy =
      this.#waiting.length + this.#asks.length + this.#sent.length + this.#answers.size > 0
    if (isBusy || this.#isFlushing || this.#isResuming) return
    if (this.#onIdle !== undefined) return this.#onIdle()
    if (this.#onExit !== undefined) return
    this.#isReferenced = false
    this.#worker.unref()
  }

  #end(failure: Failure) {
    if (this.#ended !== undefined) return
    this.#ended = failure
    const appends = [...this.#sent.flatMap((sent) => sent.appends), ...this.#waiting]
    const answers = [...this.#answers.values()]
    this.#sent.length = this.#waiting.length = this.#asks.length = 0
    this.#answers.clear()
    for (const { done } of appends) done(failure)
    for (const answer of answers) answer({ failure })
  }
}

const bytesOf = ({ actor, events }: Append) => {
  let bytes = actor.length
  for (const event of events) bytes += event.body.length
  return bytes
}

const toColumns = (appends: ReadonlyArray<Waiting>): AppendBatch => {
  const actors: Array<string> = []
  const heads = new Float64Array(3 * appends.length)
  const types = new Map<string, number>()
  const events: Array<number> = []
  const bodies: Array<string> = []
  const tags: Array<readonly [number, ReadonlyArray<string>]> = []
  let head = 0
  for (const { request } of appends) {
    actors.push(request.actor)
    heads[head++] = request.writer
    heads[head++] = request.expected
    heads[head++] = request.events.length
    for (const event of request.events) {
      let type = types.get(event.type)
      if (type === undefined) {
        type = types.size
        types.set(event.type, type)
      }
      if (event.tags.length > 0) tags.push([bodies.length, event.tags])
      events.push(type, event.version, event.at)
      bodies.push(event.body)
    }
  }
  return {
    actors,
    heads,
    types: [...types.keys()],
    events: Float64Array.from(events),
    bodies,
    tags
  }
}

/** Starts a worker for a file; `done` gets the open journal or the refusal. */
export const openJournal = (
  file: OpenFile,
  limits: QueueLimits,
  done: (result: JournalConnection | Refusal) => void
) => {
  const worker = new Worker(workerModule(import.meta.url, "journalWorker"), {
    name: "journal",
    workerData: file,
    // Options like `--eval` are meant for the program, and would stop the worker from starting.
    execArgv: []
  })
  const crashed = (cause: unknown) => done({ reason: "io", detail: String(cause) })
  worker.once("error", crashed)
  worker.once("message", (message: FromWorker) => {
    worker.off("error", crashed)
    if ("refusal" in message) done(message.refusal)
    else done(new JournalConnection(worker, limits))
  })
}
