/**
 * Finds each actor's events. Their offsets are kept in memory when they are appended, and written
 * to the file later, many at once (a *run*): appending costs no index page. Offsets that were not
 * written when the process died are recovered by reading the newest events of the file.
 *
 * The index also holds the present writer of each actor's history, and evicts idle actors.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { checksumNumbers, checksumText } from "./checksum.ts"
import { corruptEvent } from "./eventBatch.ts"
import { FileRefused, isDamage, OperationFailed } from "./failures.ts"
import type { MetaTable } from "./metaTable.ts"

/** The entry of one actor. */
export interface Actor {
  readonly name: string
  /** The checksum of the name, which every record of the actor continues. */
  readonly sum: number
  /** 0 until its first record is stored. */
  id: number
  writer: number
  last: number
  /** Events up to this one are deleted. */
  pruned: number
  /** The offsets of the events after `indexed`, which no run holds yet. */
  indexed: number
  tail: Array<number>
  /** The file does not have the writer yet. */
  unsaved: boolean
  /** The last transaction that changed it. */
  transaction: number
}

interface Touched {
  readonly actor: Actor
  readonly before: Actor
  readonly tailLength: number
}

const runLength = 1024

/** The actors of one open file. */
export class ActorIndex {
  readonly #limits: { readonly unindexedEvents: number; readonly cachedActors: number }
  readonly #actors = new Map<string, Actor>()
  /** Actors with a tail, the one with the oldest event first. */
  #dirty = new Set<Actor>()
  /** The last writer of earlier openings, and the last one of all. */
  readonly #earlierWriters: number
  #writers: number
  #transaction = 0
  #touched: Array<Touched> = []
  #stored = false
  readonly #find: StatementSync
  readonly #insert: StatementSync
  readonly #update: StatementSync
  readonly #insertRun: StatementSync
  readonly #findRun: StatementSync
  readonly #deleteRuns: StatementSync
  readonly #meta: MetaTable

  constructor(
    database: DatabaseSync,
    meta: MetaTable,
    limits: { readonly unindexedEvents: number; readonly cachedActors: number }
  ) {
    this.#limits = limits
    this.#find = database.prepare("SELECT id, writer, last, pruned, crc FROM actors WHERE name = ?")
    this.#insert = database.prepare(
      "INSERT INTO actors (name, writer, last, pruned, crc) VALUES (?, 0, 0, 0, ?)"
    )
    this.#update = database.prepare(
      "UPDATE actors SET writer = ?, last = ?, pruned = ?, crc = ? WHERE id = ?"
    )
    this.#insertRun = database.prepare("INSERT INTO runs VALUES (?, ?, ?, ?, ?)")
    this.#findRun = database.prepare(
      "SELECT first, last, base, offsets FROM runs WHERE actor = ? AND first <= ?" +
        " ORDER BY first DESC LIMIT 1"
    )
    this.#deleteRuns = database.prepare("DELETE FROM runs WHERE actor = ? AND last <= ?")
    this.#meta = meta
    // Each opening of the file has a separate range, so that claims of earlier ones are invalid.
    this.#earlierWriters = this.#writers = meta.get("opens") * 2 ** 32
    this.#recover(database)
  }

  /**
   * The actor that this writer may write now, directly after the event `expected` if given. A claim
   * ends with the opening it was made in, even if no other writer has claimed the actor since.
   */
  admit(name: string, writer: number, expected?: number): Actor {
    const actor = this.#hold(name)
    if (actor === undefined || actor.writer !== writer || writer <= this.#earlierWriters) {
      throw new OperationFailed({ kind: "fenced", by: actor?.writer ?? 0 })
    }
    if (expected !== undefined && actor.last !== expected) {
      throw new OperationFailed({ kind: "conflict", actual: actor.last })
    }
    return actor
  }

  /** The actor of that name, if the journal has it. Damage is reported as this actor's. */
  lookup(name: string): Actor | undefined {
    const known = this.#actors.get(name)
    if (known !== undefined) return known
    try {
      return this.#load(name)
    } catch (cause) {
      throw isDamage(cause) ? corruptEvent(name, 0, String(cause)) : cause
    }
  }

  #load(name: string): Actor | undefined {
    const row = this.#find.get(name)
    if (row === undefined) return undefined
    const actor = makeActor(name)
    actor.id = Number(row["id"])
    actor.writer = Number(row["writer"])
    actor.last = actor.indexed = Number(row["last"])
    actor.pruned = Number(row["pruned"])
    if (actorSum(actor) !== row["crc"]) {
      throw corruptEvent(name, actor.last, "the entry of the actor has a wrong checksum")
    }
    // Both are written together, so if the entry is older, the disk has lost its page.
    const newest = this.#findRun.get(actor.id, Number.MAX_SAFE_INTEGER)
    if (Number(newest?.["last"] ?? 0) > actor.last) {
      throw corruptEvent(name, actor.last, "the entry of the actor is older than its index")
    }
    return actor
  }

  /** Gives an actor a new writer. */
  claim(name: string): Actor {
    const actor = this.lookup(name) ?? makeActor(name)
    this.#actors.set(name, actor)
    this.#writers = Math.max(this.#writers, actor.writer) + 1
    actor.writer = this.#writers
    actor.unsaved = true
    return actor
  }

  /** Saves an actor's state for `undo`, and gives a new actor its number. */
  touch(actor: Actor) {
    if (actor.transaction === this.#transaction) return
    actor.transaction = this.#transaction
    this.#touched.push({ actor, before: { ...actor }, tailLength: actor.tail.length })
    if (actor.id === 0) {
      const { lastInsertRowid } = this.#insert.run(actor.name, 0)
      actor.id = Number(lastInsertRowid)
      this.#save(actor)
    }
  }

  /** Adds the next event of a touched actor. */
  add(actor: Actor, offset: number) {
    if (actor.tail.length === 0) this.#dirty.add(actor)
    actor.last++
    actor.tail.push(offset)
  }

  /** Writes a touched actor's entry and its tail. */
  store(actor: Actor) {
    for (let last = actor.indexed; last < actor.last; last += runLength) {
      const start = last - actor.indexed
      const offsets = actor.tail.slice(start, start + runLength)
      const base = offsets[0]!
      const bytes = new Uint8Array(Uint32Array.from(offsets, (offset) => offset - base).buffer)
      this.#insertRun.run(actor.id, last + 1, last + offsets.length, base, bytes)
    }
    this.#dirty.delete(actor)
    actor.indexed = actor.last
    actor.tail = []
    this.#save(actor)
    this.#stored = true
  }

  /** Whether actors should be stored although there was no write. */
  get isCrowded(): boolean {
    return this.#actors.size > this.#limits.cachedActors
  }

  /** Stores what is due at the end of a transaction. To be called before the commit. */
  settle(offset: number) {
    for (const actor of this.#dirty) {
      if (offset - actor.tail[0]! < this.#limits.unindexedEvents) break
      this.touch(actor)
      this.store(actor)
    }
    if (this.isCrowded) {
      let count = evictedAtOnce
      for (const actor of this.#actors.values()) {
        if (count-- === 0) break
        if (!actor.unsaved && actor.tail.length === 0) continue
        this.touch(actor)
        this.store(actor)
      }
    }
    if (this.#stored) this.#meta.set("indexed", this.#oldestUnindexed() ?? offset)
  }

  /** Stores everything, before the file is closed. */
  settleAll(offset: number) {
    for (const actor of this.#dirty) {
      this.touch(actor)
      this.store(actor)
    }
    this.#meta.set("indexed", offset)
  }

  /** Makes the transaction's states final, after the commit. */
  commit() {
    this.#end()
    if (!this.isCrowded) return
    let count = evictedAtOnce
    // `settle` has stored these, so the file knows all of them.
    for (const name of this.#actors.keys()) {
      if (count-- === 0) break
      this.#actors.delete(name)
    }
  }

  /** Restores every touched actor, after a rollback. */
  undo() {
    for (const { actor, before, tailLength } of this.#touched) {
      Object.assign(actor, before)
      actor.tail.length = tailLength
    }
    const dirty = [...this.#actors.values()].filter((actor) => actor.tail.length > 0)
    this.#dirty = new Set(dirty.toSorted((one, other) => one.tail[0]! - other.tail[0]!))
    this.#end()
  }

  /** The offsets of the events from `from` to `to`, which must exist. */
  offsets(actor: Actor, from: number, to: number): Array<number> {
    const offsets: Array<number> = []
    let seq = from
    while (seq <= to && seq <= actor.indexed) {
      const row = this.#findRun.get(actor.id, seq)
      if (row === undefined || Number(row["last"]) < seq) {
        throw corruptEvent(actor.name, seq, "the event is missing from the index")
      }
      const { base, bytes } = { base: Number(row["base"]), bytes: row["offsets"] as Uint8Array }
      const run = new Uint32Array(bytes.slice().buffer)
      const first = Number(row["first"])
      const end = Math.min(to, first + run.length - 1)
      if (end < seq) throw corruptEvent(actor.name, seq, "the index has a wrong length")
      for (; seq <= end; seq++) offsets.push(base + run[seq - first]!)
    }
    for (; seq <= to; seq++) offsets.push(actor.tail[seq - actor.indexed - 1]!)
    return offsets
  }

  /** Marks events up to `to` as deleted, and forgets their offsets. */
  prune(actor: Actor, to: number) {
    actor.pruned = to
    this.store(actor)
    this.#deleteRuns.run(actor.id, to)
  }

  /** Like `lookup`, but keeps the actor in memory, because it will be written. */
  #hold(name: string): Actor | undefined {
    const known = this.#actors.get(name)
    if (known !== undefined) return known
    const actor = this.lookup(name)
    if (actor !== undefined) this.#actors.set(name, actor)
    return actor
  }

  #save(actor: Actor) {
    this.#update.run(actor.writer, actor.last, actor.pruned, actorSum(actor), actor.id)
    actor.unsaved = false
  }

  #end() {
    this.#touched = []
    this.#stored = false
    this.#transaction++
  }

  #oldestUnindexed(): number | undefined {
    for (const actor of this.#dirty) return actor.tail[0]! - 1
    return undefined
  }

  /** Recovers the tails: the events after the last offset up to which all runs are written. */
  #recover(database: DatabaseSync) {
    const newest = database.prepare("SELECT offset, actor, seq FROM events WHERE offset > ?")
    newest.setReturnArrays(true)
    const nameOf = database.prepare("SELECT name FROM actors WHERE id = ?")
    const byId = new Map<number, Actor>()
    const rows = newest.iterate(this.#meta.get("indexed"))
    for (const [offset, id, seq] of rows as Iterable<ReadonlyArray<number>>) {
      let actor = byId.get(id!)
      if (actor === undefined) {
        const name = nameOf.get(id!)?.["name"]
        actor = name === undefined ? undefined : this.#hold(String(name))
        if (actor === undefined) throw damagedEvent(offset!, "belongs to no actor")
        byId.set(id!, actor)
      }
      if (seq! <= actor.indexed) continue
      if (seq !== actor.last + 1) throw damagedEvent(offset!, "does not follow its predecessor")
      this.add(actor, offset!)
    }
  }
}

/** Idle actors that are evicted at once after a transaction, if there are too many. */
const evictedAtOnce = 256

const makeActor = (name: string): Actor => ({
  name,
  sum: checksumText(name),
  id: 0,
  writer: 0,
  last: 0,
  pruned: 0,
  indexed: 0,
  tail: [],
  unsaved: false,
  transaction: -1
})

const actorSum = (actor: Actor) =>
  checksumNumbers(actor.sum, actor.id, actor.writer, actor.last, actor.pruned)

const damagedEvent = (offset: number, detail: string) =>
  new FileRefused("damaged", `the event at offset ${offset} ${detail}`)
