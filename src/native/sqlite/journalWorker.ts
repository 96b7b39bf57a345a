/**
 * The journal's worker: holds the file, and commits for all callers at once. Requests that arrive
 * while a transaction runs go into the next one. Between two transactions at most one batch is
 * read, so neither reads nor writes delay the other.
 *
 * This thread is not terminated from outside: on a request to close, it closes the file and ends.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { EventLog } from "./eventLog.ts"
import { DamageMet, failureInTransaction, failureOf, refusalOf } from "./failures.ts"
import type { JournalFile } from "./journalFile.ts"
import { openFile } from "./openFile.ts"
import type {
  Ask,
  Failure,
  FromWorker,
  OpenFile,
  Outcome,
  RefusedAppend,
  ToWorker
} from "./protocol.ts"
import { SnapshotTable } from "./snapshotTable.ts"

type Batch = Exclude<ToWorker, "close">
type ReadAsk = Extract<Ask, { operation: "read" | "tagged" | "loadSnapshot" }>

const isRead = (ask: Ask): ask is ReadAsk =>
  ask.operation === "read" || ask.operation === "tagged" || ask.operation === "loadSnapshot"

/**
 * Times that a transaction is run again without an operation that met damage. With more damage, all
 * operations of the transaction fail, because each repetition writes all others again.
 */
const excludedAtMost = 8

class JournalWorker {
  readonly #port: MessagePort
  readonly #file: JournalFile
  readonly #events: EventLog
  readonly #snapshots: SnapshotTable
  #writes: Array<Batch> = []
  #reads: Array<ReadAsk> = []
  #closing = false

  constructor(port: MessagePort, file: JournalFile, limits: OpenFile) {
    this.#port = port
    this.#file = file
    this.#events = new EventLog(file.database, file.meta, limits)
    this.#snapshots = new SnapshotTable(file.database, this.#events.actors)
  }

  /** Starts to handle messages. */
  listen() {
    this.#port.on("message", (message: ToWorker) => {
      this.#accept(message)
      this.#work()
    })
  }

  #accept(message: ToWorker) {
    if (message === "close") {
      this.#closing = true
      return
    }
    const writes = message.asks.filter((ask) => !isRead(ask))
    if (message.append !== null || writes.length > 0) {
      this.#writes.push({ ...message, asks: writes })
    }
    for (const ask of message.asks) if (isRead(ask)) this.#reads.push(ask)
  }

  #work() {
    for (;;) {
      let received
      while ((received = receiveMessageOnPort(this.#port)) !== undefined) {
        this.#accept(received.message)
      }
      const ask = this.#reads.shift()
      if (this.#writes.length > 0) this.#transact()
      if (ask !== undefined) this.#answer(0, [], [[ask.id, this.#read(ask)]])
      else if (this.#writes.length === 0) break
    }
    if (this.#closing) this.#close()
  }

  /**
   * Runs one transaction for all waiting requests. If an operation meets damage, runs it again
   * without that operation: damage of one actor must not fail the events of all.
   */
  #transact() {
    const batches = this.#writes
    this.#writes = []
    const excluded = new Map<string, Failure>()
    for (;;) {
      try {
        return this.#attempt(batches, excluded)
      } catch (cause) {
        const isDamage = cause instanceof DamageMet
        if (!isDamage || excluded.size === excludedAtMost) return this.#failAll(batches, cause)
        excluded.set(cause.operation, cause.failure)
        this.#rollback()
      }
    }
  }

  #attempt(batches: ReadonlyArray<Batch>, excluded: ReadonlyMap<string, Failure>) {
    const refused: Array<RefusedAppend> = []
    const outcomes: Array<readonly [number, Outcome]> = []
    const unfinished: Array<Batch> = []
    let decided = 0
    this.#file.begin()
    for (const { append, asks, batch } of batches) {
      decided = batch
      if (append !== null) this.#events.append(batch, append, refused, excluded)
      for (const ask of asks) {
        const outcome = this.#write(ask, excluded)
        // The rest goes into the next transaction, after the appends that have arrived since.
        if (outcome === "unfinished") unfinished.push({ batch: 0, append: null, asks: [ask] })
        else outcomes.push([ask.id, outcome])
      }
    }
    this.#events.settle()
    this.#file.commit()
    this.#events.commit()
    this.#writes.push(...unfinished)
    this.#answer(decided, refused, outcomes)
  }

  #write(ask: Ask, excluded: ReadonlyMap<string, Failure>): Outcome | "unfinished" {
    const name = `${ask.operation} ${ask.id}`
    const failure = excluded.get(name)
    if (failure !== undefined) return { failure }
    try {
      return this.#writeUnsafe(ask)
    } catch (cause) {
      return { failure: failureInTransaction(name, cause) }
    }
  }

  #writeUnsafe(ask: Ask): Outcome | "unfinished" {
    switch (ask.operation) {
      case "claim": {
        const { last, writer } = this.#events.actors.claim(ask.ask.actor)
        return { answer: { writer, last } }
      }
      case "saveSnapshot":
        this.#snapshots.save(ask.ask)
        return { answer: null }
      case "prune": {
        if (!this.#events.prune(ask.ask)) return "unfinished"
        this.#snapshots.prune(ask.ask)
        return { answer: null }
      }
      case "register":
        return { answer: this.#events.projections.register(ask.ask) }
      case "acknowledge":
        this.#events.acknowledge(ask.ask, ask.ask.offset)
        return { answer: null }
      case "unregister":
        this.#events.projections.unregister(ask.ask)
        return { answer: null }
      default:
        throw new Error(`${ask.operation} is a read`)
    }
  }

  #read(ask: ReadAsk): Outcome {
    try {
      this.#file.assertHeld()
      switch (ask.operation) {
        case "read":
          return { answer: this.#events.read(ask.ask) }
        case "tagged":
          return { answer: this.#events.tagged(ask.ask) }
        case "loadSnapshot":
          return { answer: this.#snapshots.load(ask.ask.actor, ask.ask.atMost) }
      }
    } catch (cause) {
      // Deletions by another opening look like damage to the index in this one's memory.
      return { failure: this.#file.loss() ?? failureOf(cause) }
    }
  }

  /** Undoes a transaction that broke, and fails all its requests with the cause. */
  #failAll(batches: ReadonlyArray<Batch>, cause: unknown) {
    this.#rollback()
    const failure = failureOf(cause)
    const refused: Array<RefusedAppend> = []
    let decided = 0
    for (const { append, batch } of batches) {
      decided = Math.max(decided, batch)
      const count = append?.actors.length ?? 0
      for (let index = 0; index < count; index++) refused.push([batch, index, failure])
    }
    const asks = batches.flatMap((batch) => batch.asks)
    this.#answer(
      decided,
      refused,
      asks.map((ask) => [ask.id, { failure }])
    )
  }

  #rollback() {
    this.#file.rollback()
    this.#events.undo()
  }

  #answer(
    decided: number,
    refused: ReadonlyArray<RefusedAppend>,
    outcomes: ReadonlyArray<readonly [number, Outcome]>
  ) {
    this.#port.postMessage({ decided, refused, outcomes } satisfies FromWorker)
  }

  #close() {
    try {
      this.#file.begin()
      this.#events.settleAll()
      this.#file.commit()
    } catch {
      // The index can be recovered from the events, so closing goes on without it.
    }
    this.#file.close()
    this.#port.close()
  }
}

const start = (port: MessagePort, limits: OpenFile) => {
  let file
  try {
    file = openFile(limits.file, limits.cacheBytes)
    new JournalWorker(port, file, limits).listen()
    port.postMessage({ opened: true } satisfies FromWorker)
  } catch (cause) {
    file?.close()
    port.postMessage({ refusal: refusalOf(limits.file, cause) } satisfies FromWorker)
    port.close()
  }
}

if (parentPort !== null) start(parentPort, workerData as OpenFile)
