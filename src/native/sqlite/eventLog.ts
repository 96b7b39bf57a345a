/**
 * The events of one open file: appended in transactions of many actors, read back by actor or by
 * tag. What is read is verified first: its checksum covers every field, its place and its actor.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { type Actor, ActorIndex } from "./actorIndex.ts"
import { checksumNumbers, checksumText } from "./checksum.ts"
import { isDamage, OperationFailed } from "./failures.ts"
import { NameTable } from "./nameTable.ts"
import type {
  AppendBatch,
  EventBatch,
  OpenFile,
  Prune,
  Read,
  RefusedAppend,
  Tagged
} from "./protocol.ts"

/** Rows that one INSERT carries: starting a statement costs more than binding a row. */
const rowsAtOnce = 16
const columns = 9
/** Events that one transaction of a long prune deletes, so that appends need not wait for all. */
const prunedAtOnce = 10_000

type Row = ReadonlyArray<number | string | null>
type Value = number | string | null

const rowOf = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"

/** The event part of an open journal file. */
export class EventLog {
  readonly actors: ActorIndex
  readonly #names: NameTable
  readonly #replayBytes: number
  readonly #insertOne: StatementSync
  readonly #insertMany: StatementSync
  readonly #insertTag: StatementSync
  readonly #select: StatementSync
  readonly #selectTagged: StatementSync
  readonly #selectDoomed: StatementSync
  readonly #deleteEvents: StatementSync
  readonly #deleteTagged: StatementSync
  readonly #setOffset: StatementSync
  /** The newest offset, and the one before the transaction. */
  #offset: number
  #committed: number
  #rows: Array<Value> = []

  constructor(database: DatabaseSync, limits: OpenFile) {
    const one = (sql: string) => Object.values(database.prepare(sql).get() ?? {})[0]
    this.#replayBytes = limits.replayBytes
    this.#offset = this.#committed = Math.max(
      Number(one("SELECT max(offset) FROM events") ?? 0),
      Number(one("SELECT value FROM meta WHERE key = 'offset'") ?? 0)
    )
    this.actors = new ActorIndex(database, limits)
    this.#names = new NameTable(database)
    this.#insertOne = database.prepare(`INSERT INTO events VALUES ${rowOf}`)
    const many = Array.from({ length: rowsAtOnce }, () => rowOf).join()
    this.#insertMany = database.prepare(`INSERT INTO events VALUES ${many}`)
    this.#insertTag = database.prepare("INSERT OR IGNORE INTO tagged VALUES (?, ?)")
    const fields = "e.offset, e.actor, e.seq, e.type, e.version, e.at, e.body, e.tags, e.crc"
    this.#select = database.prepare(
      `SELECT ${fields} FROM json_each(?) j CROSS JOIN events e ON e.offset = j.value`
    )
    this.#select.setReturnArrays(true)
    this.#selectTagged = database.prepare(
      `SELECT ${fields}, a.name FROM tagged t CROSS JOIN events e ON e.offset = t.offset` +
        " JOIN actors a ON a.id = e.actor WHERE t.tag = ? AND t.offset > ? AND t.offset <= ?" +
        " ORDER BY t.offset LIMIT ?"
    )
    this.#selectTagged.setReturnArrays(true)
    this.#selectDoomed = database.prepare(
      "SELECT e.offset FROM json_each(?) j CROSS JOIN events e ON e.offset = j.value" +
        " WHERE e.tags IS NOT NULL"
    )
    this.#deleteEvents = database.prepare(
      "DELETE FROM events WHERE offset IN (SELECT value FROM json_each(?))"
    )
    this.#deleteTagged = database.prepare(
      "DELETE FROM tagged WHERE offset IN (SELECT value FROM json_each(?))"
    )
    this.#setOffset = database.prepare("UPDATE meta SET value = ? WHERE key = 'offset'")
  }

  /** Adds what is allowed of a batch to the open transaction, and reports what is not. */
  append(number: number, batch: AppendBatch, refused: Array<RefusedAppend>) {
    const { actors, bodies, events, heads } = batch
    const types = batch.types.map((type) => this.#names.idOf(type))
    const sums = batch.types.map((type) => checksumText(type))
    const tags = batch.tags.length === 0 ? undefined : new Map(batch.tags)
    let event = 0
    for (let index = 0; index < actors.length; index++) {
      const name = actors[index]!
      const end = event + heads[3 * index + 2]!
      let actor
      try {
        actor = this.actors.admit(name, heads[3 * index]!, heads[3 * index + 1]!)
      } catch (cause) {
        if (!(cause instanceof OperationFailed)) throw cause
        refused.push([number, index, cause.failure])
        event = end
        continue
      }
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
    }
    this.#flush()
  }

  /** Deletes a piece of an actor's history; false if there is more to delete. */
  prune({ actor: name, eventsTo, writer }: Prune): boolean {
    const actor = this.actors.admit(name, writer)
    const goal = Math.min(eventsTo, actor.last)
    if (goal <= actor.pruned) return true
    const to = Math.min(goal, actor.pruned + prunedAtOnce)
    this.actors.touch(actor)
    const offsets = JSON.stringify(this.actors.offsets(actor, actor.pruned + 1, to))
    const tagged = this.#selectDoomed.all(offsets)
    if (tagged.length > 0) {
      this.#deleteTagged.run(JSON.stringify(tagged.map((row) => row["offset"])))
    }
    this.#deleteEvents.run(offsets)
    this.actors.prune(actor, to)
    // The newest rows may be gone now, and an offset must not be given away twice.
    this.#setOffset.run(this.#offset)
    return to === goal
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
          throw corrupt(name, seq, "another event is in its place")
        }
        batch.add(row, name, actor.sum)
        seq++
        if (batch.bytes >= this.#replayBytes) return batch.done()
      }
      if (seq < first + offsets.length) throw corrupt(name, seq, "the event is missing")
      return batch.done()
    } catch (cause) {
      throw isDamage(cause) ? corrupt(name, seq, String(cause)) : cause
    }
  }

  /** One batch of the events with a tag. */
  tagged({ after, limit, tag, upTo }: Tagged): EventBatch {
    const end = Math.min(upTo, this.#offset)
    const batch = new BatchBuilder(this.#names, end)
    const id = this.#names.find(tag)
    if (id === undefined) return batch.done()
    const rows = this.#selectTagged.iterate(id, after, end, limit) as Iterable<unknown>
    const label = JSON.stringify(tag)
    for (const row of rows as Iterable<Row>) {
      const name = String(row[columns])
      batch.actors.push(name)
      batch.add(row, name, checksumText(name))
      if (!String(row[7]).includes(label)) {
        throw corrupt(name, Number(row[2]), `found by the tag ${label}, which it does not carry`)
      }
      if (batch.bytes >= this.#replayBytes) break
    }
    return batch.done()
  }

  /** To be called before the commit. */
  settle() {
    this.actors.settle(this.#offset)
  }

  /** Writes the whole index, so that the next opening has nothing to look for. */
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
      for (const tag of event.tags) this.#insertTag.run(this.#names.idOf(tag), offset)
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

const corrupt = (actor: string, seq: number, detail: string) =>
  new OperationFailed({ kind: "corrupt", record: "event", actor, seq, detail })

const eventSum = (
  actorSum: number,
  offset: number,
  seq: number,
  typeSum: number,
  version: number,
  at: number,
  body: string,
  tags: string | null
) => {
  const sum = checksumText(body, checksumNumbers(actorSum, offset, seq, typeSum, version, at))
  return tags === null ? sum : checksumText(tags, sum)
}

/** Collects verified rows as the columns that travel. */
class BatchBuilder {
  readonly actors: Array<string> = []
  bytes = 0
  readonly #names: NameTable
  readonly #upTo: number
  readonly #types: Array<string> = []
  readonly #sums: Array<number> = []
  readonly #typeIndex = new Map<number, number>()
  readonly #events: Array<number> = []
  readonly #bodies: Array<string> = []
  readonly #tags: Array<readonly [number, string]> = []

  constructor(names: NameTable, upTo: number) {
    this.#names = names
    this.#upTo = upTo
  }

  add(row: Row, name: string, actorSum: number) {
    const [offset, , seq, typeId, version, at, body, tags, sum] = row as readonly [
      number,
      number,
      number,
      number,
      number,
      number,
      string,
      string | null,
      number
    ]
    const type = this.#typeOf(typeId)
    if (
      type === undefined ||
      typeof body !== "string" ||
      (tags !== null && typeof tags !== "string") ||
      eventSum(actorSum, offset, seq, this.#sums[type]!, version, at, body, tags) !== sum
    ) {
      throw corrupt(name, seq, "wrong checksum")
    }
    if (tags !== null) this.#tags.push([this.#bodies.length, tags])
    this.#events.push(offset, seq, type, version, at)
    this.#bodies.push(body)
    this.bytes += body.length
  }

  done(): EventBatch {
    return {
      upTo: this.#upTo,
      types: this.#types,
      actors: this.actors,
      events: Float64Array.from(this.#events),
      bodies: this.#bodies,
      tags: this.#tags
    }
  }

  #typeOf(id: number): number | undefined {
    const known = this.#typeIndex.get(id)
    if (known !== undefined) return known
    const name = this.#names.nameOf(id)
    if (name === undefined) return undefined
    this.#typeIndex.set(id, this.#types.length)
    this.#sums.push(checksumText(name))
    return this.#types.push(name) - 1
  }
}
