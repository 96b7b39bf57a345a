/**
 * The records of a journal: the events of one actor in dense order, and snapshots of its state.
 *
 * Bodies are JSON text, already encoded by the behavior's Schema, so a store never needs to
 * interpret an event. Sequence numbers start at 1 and have no gaps; `last: 0` means that nothing
 * was ever stored.
 */
import * as Schema from "effect/Schema"

/** An event to store. Its sequence number follows from its place in the append. */
export interface NewEvent {
  /** The event's `_tag`. */
  readonly type: string
  /** The version of the behavior's event schema that encoded the body. */
  readonly version: number
  /** JSON text. */
  readonly body: string
  /** When the event was decided, in milliseconds since 1970. */
  readonly at: number
  /** Labels under which projections find the event across actors. */
  readonly tags: ReadonlyArray<string>
}

/** A stored event. */
export interface StoredEvent extends NewEvent {
  readonly actor: string
  /** Dense per actor, from 1. */
  readonly seq: number
  /** Rises across all actors of one journal in the order of commits; gaps are allowed. */
  readonly offset: number
}

/** A snapshot: the state after the event `seq`. */
export interface StoredSnapshot {
  readonly actor: string
  readonly seq: number
  /** The version of the behavior's snapshot schema that encoded the body. */
  readonly version: number
  /** JSON text. */
  readonly body: string
  readonly at: number
}

/** The right to write one actor's history. Claiming it again fences every older claim. */
export interface Claim {
  readonly actor: string
  /** Rises with each claim of the same actor. */
  readonly writer: number
  /** The sequence number of the last stored event, 0 if there is none. */
  readonly last: number
}

/** One atomic append: all events or none, directly after event `expected`. */
export interface Append {
  readonly actor: string
  readonly writer: number
  readonly expected: number
  readonly events: ReadonlyArray<NewEvent>
}

/**
 * A reader of the events with one tag, whose position the journal stores: the offset up to which it
 * has processed them. Events after it are not deleted.
 *
 * A projection that follows several tags registers once for each of them, under the same name.
 */
export interface Projection {
  readonly name: string
  readonly tag: string
}

/**
 * A newer writer has claimed this actor; nothing was stored, and nothing will be for this claim.
 */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", {
  actor: Schema.String,
  writer: Schema.Int,
  by: Schema.Int
}) {
  override get message() {
    return `${this.actor}: writer ${this.writer} was replaced by writer ${this.by}`
  }
}

/**
 * The append did not start where the history ends, or there is no event for the snapshot. Nothing
 * was stored.
 */
export class SequenceConflict extends Schema.TaggedError<SequenceConflict>()("SequenceConflict", {
  actor: Schema.String,
  expected: Schema.Int,
  actual: Schema.Int
}) {
  override get message() {
    return `${this.actor}: expected event ${this.expected} to be the last, it is ${this.actual}`
  }
}

/**
 * The store refused or broke. Whether the events of a failed append were stored is **unknown**,
 * except after `"too-large"`, a body over the store's limit, and `"locked"`, another SQLite program
 * that kept the file locked for longer than an operation waits: nothing was stored. After
 * `"replaced"`, when another opening of the same file has taken it over, this one stores nothing
 * any more.
 */
export class StorageFailed extends Schema.TaggedError<StorageFailed>()("StorageFailed", {
  operation: Schema.Literals(["claim", "append", "read", "snapshot", "prune", "projection"]),
  reason: Schema.Literals([
    "disk-full",
    "read-only",
    "locked",
    "io",
    "replaced",
    "closed",
    "too-large",
    "unknown"
  ]),
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.operation} failed on ${this.file} (${this.reason}): ${this.detail}`
  }
}

/**
 * Events with this tag after the offset `after` were deleted, the newest of them at `prunedTo`.
 * From `prunedTo` on nothing is missing, so a reader that can do without the deleted events begins
 * there. A registered projection gets this error only if events were deleted before it was
 * registered.
 */
export class EventsPruned extends Schema.TaggedError<EventsPruned>()("EventsPruned", {
  tag: Schema.String,
  after: Schema.Int,
  prunedTo: Schema.Int
}) {
  override get message() {
    const { after, prunedTo, tag } = this
    return (
      `events tagged ${JSON.stringify(tag)} after offset ${after} are deleted, ` +
      `the newest of them at ${prunedTo}: read on from there, or restore them from a backup`
    )
  }
}

/**
 * The caller passed a value that no journal can store exactly: text with a lone surrogate, or a
 * number that is no safe integer or no time. Nothing was stored, and no other caller is affected.
 */
export class NotStorable extends Schema.TaggedError<NotStorable>()("NotStorable", {
  operation: Schema.Literals(["claim", "append", "read", "snapshot", "prune", "projection"]),
  actor: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.operation} of ${JSON.stringify(this.actor)} is not possible: ${this.detail}`
  }
}

/** A position was acknowledged for a projection that is not registered. Nothing was stored. */
export class UnknownProjection extends Schema.TaggedError<UnknownProjection>()(
  "UnknownProjection",
  { name: Schema.String, tag: Schema.String }
) {
  override get message() {
    return `no projection ${this.name} of the tag ${JSON.stringify(this.tag)} is registered`
  }
}

/**
 * A record with a wrong checksum or shape. It is reported, and never half-read. A damaged position
 * of a projection has the projection's name as `actor`. Of a `"tag"`, entries are missing in the
 * index by which its events are found; of a `"file"`, SQLite found a page damaged. These have no
 * `actor` and no `seq`. A `seq` that is damaged itself is 0.
 */
export class CorruptRecord extends Schema.TaggedError<CorruptRecord>()("CorruptRecord", {
  actor: Schema.String,
  seq: Schema.Int,
  kind: Schema.Literals(["event", "snapshot", "tag", "projection", "file"]),
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    if (this.kind === "file") return `${this.file} is damaged: ${this.detail}`
    if (this.kind === "tag") return `${this.file}: the index of tags is damaged: ${this.detail}`
    return `${this.file}: ${this.kind} ${this.seq} of ${this.actor} is damaged: ${this.detail}`
  }
}

/** Errors of operations on an open journal. */
export type JournalError =
  | Fenced
  | SequenceConflict
  | EventsPruned
  | UnknownProjection
  | NotStorable
  | StorageFailed
  | CorruptRecord

/** A journal file that cannot be opened. The file is left as it was. */
export class JournalUnavailable extends Schema.TaggedError<JournalUnavailable>()(
  "JournalUnavailable",
  {
    file: Schema.String,
    reason: Schema.Literals([
      "locked",
      "newer-format",
      "not-a-journal",
      "damaged",
      "read-only",
      "disk-full",
      "io"
    ]),
    detail: Schema.String
  }
) {
  override get message() {
    return `cannot open journal ${this.file} (${this.reason}): ${this.detail}`
  }
}
