/**
 * The journal's worker: owns the file, and commits for everybody at once. All that arrives while
 * a transaction runs goes into the next one. Between two transactions at most one batch is read,
 * so neither side can hold up the other.
 *
 * Nobody stops this thread from outside: when it is told to close, it closes the file and ends.
 */
import type { DatabaseSync } from "node:sqlite"
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { EventLog } from "./eventLog.ts"
import { failureOf, OperationFailed, refusalOf } from "./failures.ts"
import { openFile } from "./openFile.ts"
import type { Ask, FromWorker, OpenFile, Outcome, RefusedAppend, ToWorker } from "./protocol.ts"
import { SnapshotTable } from "./snapshotTable.ts"

type Batch = Exclude<ToWorker, "close">
type ReadAsk = Extract<Ask, { operation: "read" | "tagged" | "loadSnapshot" }>

const isRead = (ask: Ask): ask is ReadAsk =>
  ask.operation === "read" || ask.operation === "tagged" || ask.operation === "loadSnapshot"

class JournalWorker {
  readonly #port: MessagePort
  readonly #database: DatabaseSync
  readonly #events: EventLog
  readonly #snapshots: SnapshotTable
  #writes: Array<Batch> = []
  #reads: Array<ReadAsk> = []
  #closing = false

  constructor(port: MessagePort, database: DatabaseSync, limits: OpenFile) {
    this.#port = port
    this.#database = database
    this.#events = new EventLog(database, limits)
    this.#snapshots = new SnapshotTable(database, this.#events.actors)
  }

  /** Takes messages from now on. */
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

  /** One transaction for everything that waits. */
  #transact() {
    const batches = this.#writes
    this.#writes = []
    const refused: Array<RefusedAppend> = []
    const outcomes: Array<readonly [number, Outcome]> = []
    let decided = 0
    try {
      this.#database.exec("BEGIN IMMEDIATE")
      for (const { append, asks, batch } of batches) {
        decided = batch
        if (append !== null) this.#events.append(batch, append, refused)
        for (const ask of asks) this.#write(ask, outcomes)
      }
      this.#events.settle()
      this.#database.exec("COMMIT")
      this.#events.commit()
    } catch (cause) {
      this.#failAll(batches, cause)
      return
    }
    this.#answer(decided, refused, outcomes)
  }

  #write(ask: Ask, outcomes: Array<readonly [number, Outcome]>) {
    try {
      const outcome = this.#writeUnsafe(ask)
      if (outcome !== undefined) outcomes.push([ask.id, { answer: outcome }])
    } catch (cause) {
      if (!(cause instanceof OperationFailed)) throw cause
      outcomes.push([ask.id, { failure: cause.failure }])
    }
  }

  #writeUnsafe(ask: Ask): unknown {
    switch (ask.operation) {
      case "claim": {
        const { last, writer } = this.#events.actors.claim(ask.ask.actor)
        return { writer, last }
      }
      case "saveSnapshot":
        this.#snapshots.save(ask.ask)
        return null
      case "prune": {
        const finished = this.#events.prune(ask.ask)
        if (!finished) {
          // The rest goes into the next transaction, behind the appends that came meanwhile.
          this.#writes.push({ batch: 0, append: null, asks: [ask] })
          return undefined
        }
        this.#snapshots.prune(ask.ask)
        return null
      }
    }
  }

  #read(ask: ReadAsk): Outcome {
    try {
      switch (ask.operation) {
        case "read":
          return { answer: this.#events.read(ask.ask) }
        case "tagged":
          return { answer: this.#events.tagged(ask.ask) }
        case "loadSnapshot":
          return { answer: this.#snapshots.load(ask.ask.actor, ask.ask.atMost) }
      }
    } catch (cause) {
      return { failure: failureOf(cause) }
    }
  }
  /** Undoes a transaction that broke. Whoever waited for it learns why, and all of them fail. */
  #failAll(batches: ReadonlyArray<Batch>, cause: unknown) {
    if (this.#database.isTransaction) this.#database.exec("ROLLBACK")
    this.#events.undo()
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

  #answer(
    decided: number,
    refused: ReadonlyArray<RefusedAppend>,
    outcomes: ReadonlyArray<readonly [number, Outcome]>
  ) {
    this.#port.postMessage({ decided, refused, outcomes } satisfies FromWorker)
  }

  #close() {
    try {
      this.#database.exec("BEGIN IMMEDIATE")
      this.#events.settleAll()
      this.#database.exec("COMMIT")
    } catch {
      // The index can be found again from the events, so closing goes on without it.
    }
    this.#database.close()
    this.#port.close()
  }
}

const start = (port: MessagePort, limits: OpenFile) => {
  let database
  try {
    database = openFile(limits.file, limits.cacheBytes)
    new JournalWorker(port, database, limits).listen()
    port.postMessage({ opened: true } satisfies FromWorker)
  } catch (cause) {
    database?.close()
    port.postMessage({ refusal: refusalOf(limits.file, cause) } satisfies FromWorker)
    port.close()
  }
}

if (parentPort !== null) start(parentPort, workerData as OpenFile)
