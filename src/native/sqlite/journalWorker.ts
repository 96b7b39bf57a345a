/**
 * The journal's worker: owns the file, and commits for everybody at once. All that arrives while
 * a transaction runs goes into the next one. Between two transactions at most one batch is read,
 * so neither side can hold up the other.
 *
 * Nobody stops this thread from outside: when it is told to close, it closes the file and ends.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { EventLog } from "./eventLog.ts"
import { failureOf, OperationFailed, refusalOf } from "./failures.ts"
import type { JournalFile } from "./journalFile.ts"
import { openFile } from "./openFile.ts"
import type { Ask, FromWorker, OpenFile, Outcome, RefusedAppend, ToWorker } from "./protocol.ts"
import { corruptSnapshot, SnapshotsDamaged, SnapshotTable } from "./snapshotTable.ts"

type Batch = Exclude<ToWorker, "close">
type ReadAsk = Extract<Ask, { operation: "read" | "tagged" | "loadSnapshot" }>

const isRead = (ask: Ask): ask is ReadAsk =>
  ask.operation === "read" || ask.operation === "tagged" || ask.operation === "loadSnapshot"

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

  /**
   * One transaction for everything that waits. If a page of the snapshots is damaged, once more
   * without them: a snapshot only saves time, and must not fail the events of all actors.
   */
  #transact() {
    const batches = this.#writes
    this.#writes = []
    try {
      this.#attempt(batches, undefined)
    } catch (cause) {
      if (!(cause instanceof SnapshotsDamaged)) return this.#failAll(batches, cause)
      this.#rollback()
      try {
        this.#attempt(batches, cause.message)
      } catch (again) {
        this.#failAll(batches, again)
      }
    }
  }

  #attempt(batches: ReadonlyArray<Batch>, damage: string | undefined) {
    const refused: Array<RefusedAppend> = []
    const outcomes: Array<readonly [number, Outcome]> = []
    const unfinished: Array<Batch> = []
    let decided = 0
    this.#file.begin()
    for (const { append, asks, batch } of batches) {
      decided = batch
      if (append !== null) this.#events.append(batch, append, refused)
      for (const ask of asks) {
        const outcome = this.#write(ask, damage)
        // The rest goes into the next transaction, behind the appends that came meanwhile.
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

  #write(ask: Ask, damage: string | undefined): Outcome | "unfinished" {
    try {
      return this.#writeUnsafe(ask, damage)
    } catch (cause) {
      if (!(cause instanceof OperationFailed)) throw cause
      return { failure: cause.failure }
    }
  }

  #writeUnsafe(ask: Ask, damage: string | undefined): Outcome | "unfinished" {
    switch (ask.operation) {
      case "claim": {
        const { last, writer } = this.#events.actors.claim(ask.ask.actor)
        return { answer: { writer, last } }
      }
      case "saveSnapshot":
        if (damage !== undefined) throw corruptSnapshot(ask.ask.actor, ask.ask.seq, damage)
        this.#snapshots.save(ask.ask)
        return { answer: null }
      case "prune": {
        if (!this.#events.prune(ask.ask)) return "unfinished"
        if (damage !== undefined) {
          throw corruptSnapshot(ask.ask.actor, ask.ask.snapshotsBefore, damage)
        }
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
      // What another opening has deleted looks like damage to the index in this one's memory.
      return { failure: this.#file.loss() ?? failureOf(cause) }
    }
  }

  /** Undoes a transaction that broke. Whoever waited for it learns why, and all of them fail. */
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
      // The index can be found again from the events, so closing goes on without it.
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
