/**
 * The reply caches of a server in a journal, so that a call is executed at most once over all of
 * the server's lives: that it begins is stored before it is executed, and its answer before that
 * leaves.
 *
 * All clients share one history, and records that come together are stored by one append. While the
 * journal fails, calls wait. When most of the history is not needed any more, the rest is stored
 * anew behind it, and the old part is deleted.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Claim, JournalError } from "../../../schema/JournalRecord.ts"
import * as ReplyRecord from "../../../schema/rpc/ReplyRecord.ts"
import type { Store } from "../../kernel/Journal.ts"

type Record = ReplyRecord.ReplyRecord

/** What a stored record was about: a client, or one of its calls. */
export interface Subject {
  readonly client: string
  readonly xid: number | undefined
}

/** The reply caches, as a history sees them. */
export interface Remembered {
  /** Subjects that have a record. */
  readonly size: number
  /** The record of a subject as it is now; undefined if it is not needed any more. */
  record(subject: Subject): Record | undefined
}

interface Pending {
  readonly record: Record
  readonly isStored: Deferred.Deferred<void>
}

/** A pause before the journal is asked again: it fails for seconds, or for good. */
const retryEvery = "1 second"
/** Records that are not needed any more are borne up to so many beyond those that are. */
const mostDead = 1_024
/** Records in one append, when they are stored anew. */
const copiesAtOnce = 128

const subjectOf = (record: Record): Subject => ({
  client: record.client,
  xid: record._tag === "Met" ? undefined : record.xid
})

export class ReplyLog {
  readonly #store: Store
  readonly #pending: Queue.Queue<Pending>
  readonly #now: () => number
  readonly #waiting = new Set<Deferred.Deferred<void>>()
  #claim: Claim
  #last: number
  /** What each stored record is about, the oldest first. */
  #subjects: Array<Subject> = []

  constructor(store: Store, claim: Claim, pending: Queue.Queue<Pending>, now: () => number) {
    this.#store = store
    this.#claim = claim
    this.#last = claim.last
    this.#pending = pending
    this.#now = now
  }

  /** Takes a history over. */
  static readonly open = Effect.fnUntraced(function* (
    store: Store,
    history: string
  ): Effect.fn.Return<ReplyLog, JournalError> {
    const clock = yield* Clock.Clock
    const claim = yield* store.claim(history)
    const pending = yield* Queue.unbounded<Pending>()
    return new ReplyLog(store, claim, pending, () => clock.currentTimeMillisUnsafe())
  })

  /** Reads what older lives have stored, in order. */
  replay(take: (record: Record) => void): Effect.Effect<void, JournalError> {
    return this.#store.read(this.#claim.actor).pipe(
      Stream.runForEach(({ body }) =>
        Effect.map(Effect.orDie(ReplyRecord.decode(body)), (record) => {
          this.#subjects.push(subjectOf(record))
          take(record)
        })
      )
    )
  }

  /** Stores a record. The effect waits until it survives the process. */
  add(record: Record): Effect.Effect<void> {
    const isStored = Deferred.makeUnsafe<void>()
    this.#waiting.add(isStored)
    Queue.offerUnsafe(this.#pending, { record, isStored })
    return Deferred.await(isStored)
  }

  /** The server is closed: no call waits any more for a journal that fails. */
  close(): void {
    for (const isStored of this.#waiting) Deferred.doneUnsafe(isStored, Effect.interrupt)
  }

  /** Stores what is added, as long as the Scope is open. */
  run(remembered: Remembered): Effect.Effect<void, never, Scope.Scope> {
    return Queue.takeAll(this.#pending).pipe(
      Effect.flatMap((taken) =>
        Effect.map(this.#append(taken.map(({ record }) => record)), () => {
          for (const { isStored } of taken) {
            this.#waiting.delete(isStored)
            Deferred.doneUnsafe(isStored, Effect.void)
          }
        })
      ),
      Effect.andThen(this.#compact(remembered)),
      Effect.forever,
      Effect.forkScoped,
      Effect.asVoid
    )
  }

  #append(records: ReadonlyArray<Record>): Effect.Effect<void> {
    return this.#write(records).pipe(
      Effect.map(() => {
        this.#last += records.length
        this.#subjects.push(...records.map(subjectOf))
      }),
      // A newer server has taken the history over: this one has nothing more to say.
      Effect.catch((error) => Effect.andThen(Effect.logError(error), Effect.never))
    )
  }

  #write(records: ReadonlyArray<Record>): Effect.Effect<void, JournalError> {
    return Effect.suspend(() => {
      const [{ actor, writer }, { version }] = [this.#claim, ReplyRecord]
      const at = this.#now()
      const events = records.map((record) => ({
        type: record._tag,
        version,
        body: ReplyRecord.encode(record),
        at,
        tags: []
      }))
      return this.#store.append({ actor, writer, expected: this.#last, events })
    }).pipe(
      Effect.catchTag("StorageFailed", () =>
        // Whether it was stored is known only to a new claim.
        this.#store.claim(this.#claim.actor).pipe(
          Effect.delay(retryEvery),
          Effect.retry({ while: ({ _tag }) => _tag === "StorageFailed" }),
          Effect.flatMap((claim) => {
            this.#claim = claim
            const isStored = claim.last === this.#last + records.length
            return isStored ? Effect.void : this.#write(records)
          })
        )
      )
    )
  }

  /** Stores the records that are needed anew, and deletes the older ones. */
  #compact(remembered: Remembered): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { length } = this.#subjects
      if (length <= mostDead || length <= 2 * remembered.size + mostDead) return Effect.void
      const old = this.#subjects
      const eventsTo = this.#last
      this.#subjects = []
      const chunks = Array.from({ length: Math.ceil(old.length / copiesAtOnce) }, (_, index) =>
        old.slice(index * copiesAtOnce, (index + 1) * copiesAtOnce)
      )
      const seen = new Set<string>()
      const copy = (subjects: ReadonlyArray<Subject>) => {
        const records = subjects.flatMap((subject) => {
          const key = `${subject.xid}/${subject.client}`
          const record = seen.has(key) ? undefined : remembered.record(subject)
          seen.add(key)
          return record === undefined ? [] : [record]
        })
        return records.length === 0 ? Effect.void : this.#append(records)
      }
      return Effect.andThen(
        Effect.forEach(chunks, copy, { discard: true }),
        Effect.ignore(this.#store.prune(this.#claim, { eventsTo }))
      )
    })
  }
}
