/**
 * Messages between the journal's main thread and its worker. Appends are sent in columns, one
 * message a batch: cloning a few flat arrays costs a fraction of cloning an object per event.
 */

/** Start data of the worker. */
export interface OpenFile {
  readonly file: string
  /** Events whose place in the file is known in memory only, and read again after a crash. */
  readonly unindexedEvents: number
  /** Actors that the worker keeps in memory. */
  readonly cachedActors: number
  /** Memory for pages of the file. */
  readonly cacheBytes: number
  /** A batch of a replay ends after so many characters of bodies, even if it has few rows. */
  readonly replayBytes: number
}

/** Why a file was refused; the same words as in `JournalUnavailable`. */
export interface Refusal {
  readonly reason:
    | "locked"
    | "newer-format"
    | "not-a-journal"
    | "damaged"
    | "read-only"
    | "disk-full"
    | "io"
  readonly detail: string
}

/** Why an operation failed, without the fields that the main thread has anyway. */
export type Failure =
  | { readonly kind: "fenced"; readonly by: number }
  | { readonly kind: "conflict"; readonly actual: number }
  | { readonly kind: "pruned"; readonly prunedTo: number }
  | { readonly kind: "unknown-projection" }
  | {
      readonly kind: "corrupt"
      readonly record: "event" | "snapshot" | "tag" | "projection" | "file"
      readonly actor: string
      readonly seq: number
      readonly detail: string
    }
  | {
      readonly kind: "storage"
      readonly reason:
        | "disk-full"
        | "read-only"
        | "locked"
        | "io"
        | "replaced"
        | "closed"
        | "too-large"
        | "unknown"
      readonly detail: string
    }

/** Columns of many appends. */
export interface AppendBatch {
  /** One name an append. */
  readonly actors: ReadonlyArray<string>
  /** Three numbers an append: writer, expected sequence number, count of events. */
  readonly heads: Float64Array
  /** The event types that occur in the batch, each once. */
  readonly types: ReadonlyArray<string>
  /** Three numbers an event: index into `types`, version, time. */
  readonly events: Float64Array
  /** One body an event. */
  readonly bodies: ReadonlyArray<string>
  /** Index of the event and its tags, only for events that have some. */
  readonly tags: ReadonlyArray<readonly [event: number, tags: ReadonlyArray<string>]>
}

/** The operations other than appends, with their answers. */
export interface Operations {
  readonly claim: {
    readonly ask: { readonly actor: string }
    readonly answer: { readonly writer: number; readonly last: number }
  }
  readonly saveSnapshot: { readonly ask: SaveSnapshot; readonly answer: null }
  readonly prune: { readonly ask: Prune; readonly answer: null }
  readonly loadSnapshot: {
    readonly ask: { readonly actor: string; readonly atMost: number }
    readonly answer: Snapshot | null
  }
  readonly register: { readonly ask: Projection; readonly answer: number }
  readonly acknowledge: {
    readonly ask: Projection & { readonly offset: number }
    readonly answer: null
  }
  readonly unregister: { readonly ask: Projection; readonly answer: null }
  readonly read: { readonly ask: Read; readonly answer: EventBatch }
  readonly tagged: { readonly ask: Tagged; readonly answer: EventBatch }
}

/** The body of a snapshot and what is stored with it. */
export interface Snapshot {
  readonly seq: number
  readonly version: number
  readonly at: number
  readonly body: string
}

/** A snapshot to be stored. */
export interface SaveSnapshot extends Snapshot {
  readonly actor: string
  readonly writer: number
}

/** A deletion. */
export interface Prune {
  readonly actor: string
  readonly writer: number
  readonly eventsTo: number
  readonly snapshotsBefore: number
}

/** A reader of one tag whose position is stored. */
export interface Projection {
  readonly name: string
  readonly tag: string
}

/** One batch of one actor's history. `upTo` is the end that the first batch reported. */
export interface Read {
  readonly actor: string
  readonly from: number
  readonly upTo: number
  readonly limit: number
}

/** One batch of the events that carry a tag. */
export interface Tagged {
  readonly tag: string
  readonly after: number
  readonly upTo: number
  readonly limit: number
}

/** Columns of events that were read and verified. */
export interface EventBatch {
  /** Where the stream ends: a sequence number or an offset. */
  readonly upTo: number
  readonly types: ReadonlyArray<string>
  /** One name an event, or one name for all. */
  readonly actors: ReadonlyArray<string>
  /** Five numbers an event: offset, sequence number, index into `types`, version, time. */
  readonly events: Float64Array
  readonly bodies: ReadonlyArray<string>
  /** JSON text of the tags, only for events that have some. */
  readonly tags: ReadonlyArray<readonly [event: number, json: string]>
}

/** The name of an operation other than an append. */
export type Operation = keyof Operations

/** An operation with its number, by which the answer is matched. */
export type Ask = {
  readonly [K in Operation]: {
    readonly id: number
    readonly operation: K
    readonly ask: Operations[K]["ask"]
  }
}[Operation]

/** From the main thread. `append` is answered by the batch's number, `asks` one by one. */
export type ToWorker =
  | {
      readonly batch: number
      readonly append: AppendBatch | null
      readonly asks: ReadonlyArray<Ask>
    }
  | "close"

/** The result of one operation. */
export type Outcome = { readonly answer: unknown } | { readonly failure: Failure }

/** An append that was refused or failed, by the number of its batch and its place in it. */
export type RefusedAppend = readonly [batch: number, index: number, failure: Failure]

/** From the worker: the file is open, or was refused, or a transaction has ended. */
export type FromWorker =
  | { readonly opened: true }
  | { readonly refusal: Refusal }
  | {
      /** All appends of the batches up to this one are decided. */
      readonly decided: number
      /** Those of them that are not stored. */
      readonly refused: ReadonlyArray<RefusedAppend>
      readonly outcomes: ReadonlyArray<readonly [id: number, outcome: Outcome]>
    }
