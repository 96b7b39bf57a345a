/**
 * The events of one open file: appended in transactions of many actors, read back by actor or by
 * tag. Events are verified when they are read: the checksum covers every field, place and actor.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { type Actor, ActorIndex } from "./actorIndex.ts"
import { checksumText } from "./checksum.ts"
import { BatchBuilder, corruptEvent, eventSum, type Row } from "./eventBatch.ts"
import { failureInTransaction, FileRefused, isDamage } from "./failures.ts"
import type { MetaTable } from "./metaTable.ts"
import { NameTable } from "./nameTable.ts"
import { ProjectionTable } from "./projectionTable.ts"
import type {
  AppendBatch,
  EventBatch,
  Failure,
  OpenFile,
  Projection,
  Prune,
  Read,
  RefusedAppend,
  Tagged
} from "./protocol.ts"
import { TagTable } from "./tagTable.ts"

/** Rows that one INSERT carries: starting a statement costs more than binding a row. */
const rowsAtOnce = 16
const columns = 9
/**
 * Events that one transaction of a long prune deletes: a short turn, because appends wait for it.
 */
const prunedAtOnce = 2000

type Value = number | string | null

/** Names an append among the operations of a transaction. */
const appendName = (batch: number, index: number) => `append ${index} of batch ${batch}`

const rowOf = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"

/** The event part of an open journal file. */
export class EventLog {
  readonly actors: ActorIndex
  readonly projections: ProjectionTable
  readonly #names: NameTable
  readonly #replayBytes: number
  readonly #insertOne: StatementSync
  readonly #insertMany: StatementSync
  readonly #tags: TagTable
  readonly #select: StatementSync
  readonly #selectTagged: StatementSync
  readonly #selectDoomed: StatementSync
  readonly #deleteEvents: StatementSync
  readonly #meta: MetaTable
  /** The newest offset, and the one before the transaction. */
  #offset: number
  #committed: number
  #rows: Array<Value> = []

  constructor(database: DatabaseSync, meta: MetaTable, limits: OpenFile) {
    const newest = database.prepare("SELECT max(offset) AS newest FROM events").get()?.["newest"]
    this.#meta = meta
    this.#replayBytes = limits.replayBytes
    this.#offset = this.#committed = Math.max(Number(newest ?? 0), meta.get("offset"))
    // Otherwise their offsets would be used again, and readers of tags would miss the new events.
    if (this.#offset < meta.get("indexed")) {
      throw new FileRefused(
        "damaged",
        `the newest events, after offset ${this.#offset}, are missing`
      )
    }
    this.actors = new ActorIndex(database, meta, limits)
    this.projections = new ProjectionTable(database)
    this.#names = new NameTable(database)
    this.#insertOne = database.prepare(`INSERT INTO events VALUES ${rowOf}`)
    const many = Array.from({ length: rowsAtOnce }, () => rowOf).join()
    this.#insertMany = database.prepare(`INSERT INTO events VALUES ${many}`)
    this.#tags = new TagTable(database)
    const fields = "e.offset, e.actor, e.seq, e.type, e.version, e.at, e.body, e.tags, e.crc"
    this.#select = database.prepare(
      `SELECT ${fields} FROM json_each(?) j CROSS JOIN events e ON e.offset = j.value`
    )
    this.#select.setReturnArrays(true)
    this.#selectTagged = database.prepare(
      `SELECT ${fields}, a.name FROM tagged t LEFT JOIN events e ON e.offset = t.offset` +
        " LEFT JOIN actors a ON a.id = e.actor WHERE t.tag = ? AND t.offset > ? AND t.offset <= ?" +
        " ORDER BY t.offset LIMIT ?"
    )
    this.#selectTagged.setReturnArrays(true)
    this.#selectDoomed = database.prepare(
      "SELECT e.offset, e.tags FROM json_each(?) j CROSS JOIN events e ON e.offset = j.value" +
        " WHERE e.tags IS NOT NULL"
    )
    this.#deleteEvents = database.prepare(
      "DELETE FROM events WHERE offset IN (SELECT value FROM json_each(?))"
    )
  }

  /**
   * Adds the allowed appends of a batch to the open transaction, and reports the others, among them
   * those in `excluded`. They are named as `appendName` does.
   */
  append(
    number: number,
    batch: AppendBatch,
    refused: Array<RefusedAppend>,
    excluded: ReadonlyMap<string, Failure> = new Map()
  ) {
    const { actors, bodies, events, heads } = batch
    const types = batch.types.map((type) => this.#names.idOf(type))
    const sums = batch.types.map((type) => checksumText(type))
    const tags = batch.tags.length === 0 ? undefined : new Map(batch.tags)
    let event = 0
    for (let index = 0; index < actors.length; index++) {
      const name = actors[index]!
      const end = event + heads[3 * index + 2]!
      const excludedFor = excluded.size > 0 ? excluded.get(appendName(number, index)) : undefined
      if (excludedFor !== undefined) {
        refused.push([number, index, excludedFor])
        event = end
        continue
      }
      try {
        const actor = this.actors.admit(name, heads[3 * index]!, heads[3 * index + 1]!)
        this.actors.touch(actor)
        for (; event < end; event++) {
          const type = events[3 * event]!
          const labels = tags?.get(event)
          this.#insert(actor, {
            type: types[type]!,
            typeSum: sums[type]!,
            version: events[3 * event + 1]!,
            at: events[3 * event + 2]!,
            body: bodies[event]!,
            tags: labels
          })
        }
      } catch (cause) {
        refused.push([number, index, failureInTransaction(appendName(number, index), cause)])
        event = end
      }
    }
    this.#flush()
  }

  /** Deletes a piece of an actor's history; false if there is more to delete. */
  prune({ actor: name, eventsTo, writer }: Prune): boolean {
    const actor = this.actors.admit(name, writer)
    const goal = Math.min(eventsTo, actor.last)
    if (goal <= actor.pruned) return true
    const first = actor.pruned + 1
    const offsets = this.actors.offsets(actor, first, Math.min(goal, actor.pruned + prunedAtOnce))
    const tagged = this.#selectDoomed.all(JSON.stringify(offsets)).map(({ offset, tags }) => ({
      offset: Number(offset),
      tags: parseTags(tags, name, () => first + offsets.indexOf(Number(offset)))
    }))
    const needed = this.projections.firstNeeded(tagged)
    const doomed = needed === undefined ? offsets : offsets.slice(0, offsets.indexOf(needed))
    if (doomed.length === 0) return true
    this.actors.touch(actor)
    const newest = new Map<string, number>()
    for (const { offset, tags } of tagged) {
      if (offset > doomed.at(-1)!) break
      for (const tag of tags) {
        this.#tags.remove(this.#names.idOf(tag), offset)
        newest.set(tag, offset)
      }
    }
    for (const [tag, offset] of newest) this.projections.pruned(tag, offset)
    this.#deleteEvents.run(JSON.stringify(doomed))
    this.actors.prune(actor, actor.pruned + doomed.length)
    // The newest rows may be deleted now, and an offset must not be used twice.
    this.#meta.set("offset", this.#offset)
    return needed !== undefined || actor.pruned === goal
  }

  /** Moves a projection's position, at most to the newest event. */
  acknowledge(projection: Projection, offset: number) {
    this.projections.acknowledge(projection, Math.min(offset, this.#offset))
  }

  /** One batch of an actor's history. */
  read({ actor: name, from, limit, upTo }: Read): EventBatch {
    const actor = this.actors.lookup(name)
    const last = Math.min(upTo, actor?.last ?? 0)
    const first = Math.max(from, (actor?.pruned ?? 0) + 1)
    const batch = new BatchBuilder(this.#names, last)
    if (actor === undefined || first > last) return batch.done()
    batch.actors.push(name)
    let seq = first
    try {
      const offsets = this.actors.offsets(actor, first, Math.min(last, first + limit - 1))
      const rows = this.#select.iterate(JSON.stringify(offsets)) as Iterable<unknown>
      for (const row of rows as Iterable<Row>) {
        const [offset, id, stored] = row
        if (offset !== offsets[seq - first]) break
        if (id !== actor.id || stored !== seq) {
          throw corruptEvent(name, seq, "another event is in its place")
        }
        batch.add(row, name, actor.sum)
        seq++
        if (batch.bytes >= this.#replayBytes) return batch.done()
      }
      if (seq < first + offsets.length) throw corruptEvent(name, seq, "the event is missing")
      return batch.done()
    } catch (cause) {
      throw isDamage(cause) ? corruptEvent(name, seq, String(cause)) : cause
    }
  }

  /** One batch of the events with a tag. */
  tagged({ after, limit, tag, upTo }: Tagged): EventBatch {
    this.projections.refuseIfPruned(tag, after)
    const end = Math.min(upTo, this.#offset)
    const batch = new BatchBuilder(this.#names, end)
    const id = this.#names.find(tag)
    if (id === undefined) return batch.done()
    const label = JSON.stringify(tag)
    this.#tags.verify(id, label)
    const rows = this.#selectTagged.iterate(id, after, end, limit) as Iterable<unknown>
    for (const row of rows as Iterable<Row>) {
      const name = row[columns]
      if (typeof name !== "string") {
        throw corruptEvent("", 0, `an event that carries the tag ${label} is missing`)
      }
      batch.actors.push(name)
      batch.add(row, name, checksumText(name))
      if (!String(row[7]).includes(label)) {
        throw corruptEvent(
          name,
          Number(row[2]),
          `found by the tag ${label}, which it does not carry`
        )
      }
      if (batch.bytes >= this.#replayBytes) break
    }
    return batch.done()
  }

  /** To be called before the commit. */
  settle() {
    this.#tags.settle()
    this.actors.settle(this.#offset)
  }

  /** Writes the whole index, so that the next opening has nothing to recover. */
  settleAll() {
    this.actors.settleAll(this.#offset)
  }

  commit() {
    this.#committed = this.#offset
    this.actors.commit()
  }

  undo() {
    this.#offset = this.#committed
    this.#rows = []
    this.#names.forget()
    this.#tags.undo()
    this.actors.undo()
  }

  #insert(
    actor: Actor,
    event: {
      readonly type: number
      readonly typeSum: number
      readonly version: number
      readonly at: number
      readonly body: string
      readonly tags: ReadonlyArray<string> | undefined
    }
  ) {
    const offset = ++this.#offset
    const { at, body, type, typeSum, version } = event
    let tags = null
    if (event.tags !== undefined) {
      tags = JSON.stringify(event.tags)
      for (const tag of event.tags) this.#tags.add(this.#names.idOf(tag), offset)
    }
    this.actors.add(actor, offset)
    const seq = actor.last
    const sum = eventSum(actor.sum, offset, seq, typeSum, version, at, body, tags)
    const rows = this.#rows
    rows.push(offset, actor.id, seq, type, version, at, body, tags, sum)
    if (rows.length === rowsAtOnce * columns) {
      this.#insertMany.run(...rows)
      rows.length = 0
    }
  }

  #flush() {
    const rows = this.#rows
    for (let at = 0; at < rows.length; at += columns) {
      this.#insertOne.run(...rows.slice(at, at + columns))
    }
    rows.length = 0
  }
}

/** The tags of a stored event whose checksum is not known. */
const parseTags = (text: unknown, actor: string, seq: () => number): ReadonlyArray<string> => {
  try {
    const tags: unknown = JSON.parse(String(text))
    if (Array.isArray(tags) && tags.every((tag) => typeof tag === "string")) return tags
  } catch {
    // Named below.
  }
  throw corruptEvent(actor, seq(), "its tags cannot be read")
}
