/** A journal in a SQLite file: Effects around the native connection. */
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import {
  CorruptRecord,
  EventsPruned,
  Fenced,
  type JournalError,
  JournalUnavailable,
  type Projection,
  SequenceConflict,
  StorageFailed,
  type StoredEvent,
  type StoredSnapshot,
  UnknownProjection
} from "../../../schema/JournalRecord.ts"
import { type JournalConnection, openJournal } from "../../../native/sqlite/journalConnection.ts"
import type { EventBatch, Failure, Operation, Operations } from "../../../native/sqlite/protocol.ts"
import type { SqliteSettings } from "./journalSettings.ts"
import type { Store } from "./store.ts"
import { direct } from "./direct.ts"
import { assertSettings, millisOf } from "./settingRules.ts"
import { accepting } from "./storable.ts"

const defaults = {
  queueAppends: 16_384,
  queueBytes: 32 << 20,
  bodyBytes: 16 << 20,
  replayEvents: 1000,
  replayBytes: 1 << 20,
  cacheBytes: 16 << 20,
  cachedActors: 65_536,
  unindexedEvents: 262_144,
  closeWithin: "10 seconds"
} as const satisfies Omit<Required<SqliteSettings>, "file">

type Limits = Required<SqliteSettings>

interface Request {
  readonly operation: StorageFailed["operation"]
  readonly actor: string
  readonly writer?: number
  readonly expected?: number
  readonly tag?: string
  readonly after?: number
}

const toError = (file: string, request: Request, failure: Failure): JournalError => {
  const { actor, after = 0, expected = 0, operation, tag = "", writer = 0 } = request
  switch (failure.kind) {
    case "fenced":
      return new Fenced({ actor, writer, by: failure.by })
    case "conflict":
      return new SequenceConflict({ actor, expected, actual: failure.actual })
    case "pruned":
      return new EventsPruned({ tag, after, prunedTo: failure.prunedTo })
    case "unknown-projection":
      return new UnknownProjection({ name: actor, tag })
    case "corrupt": {
      const { detail, record, seq } = failure
      return new CorruptRecord({ actor: failure.actor, seq, kind: record, file, detail })
    }
    case "storage": {
      const { detail, reason } = failure
      return new StorageFailed({ operation, reason, file, detail })
    }
  }
}

const open = (limits: Limits) =>
  Effect.callback<JournalConnection, JournalUnavailable>((resume) => {
    const { file, queueAppends: appends, queueBytes: bytes } = limits
    const { cacheBytes, cachedActors, replayBytes, unindexedEvents } = limits
    const openFile = { file, cacheBytes, cachedActors, replayBytes, unindexedEvents }
    openJournal(openFile, { appends, bytes }, (result) => {
      if ("reason" in result) resume(Effect.fail(new JournalUnavailable({ file, ...result })))
      else resume(Effect.succeed(result))
    })
  })

const toEvents = (batch: EventBatch): ReadonlyArray<StoredEvent> => {
  const { actors, bodies, events, types } = batch
  const tags = batch.tags.length === 0 ? undefined : new Map(batch.tags)
  const [only] = actors
  return bodies.map((body, index) => {
    const at = 5 * index
    const labels = tags?.get(index)
    return {
      actor: actors.length === 1 ? only! : actors[index]!,
      offset: events[at]!,
      seq: events[at + 1]!,
      type: types[events[at + 2]!]!,
      version: events[at + 3]!,
      at: events[at + 4]!,
      body,
      // The store wrote and verified this text.
      tags: labels === undefined ? noTags : (JSON.parse(labels) as ReadonlyArray<string>)
    }
  })
}

const noTags: ReadonlyArray<string> = []

/** One open file: its limits, and its requests. */
interface Opened {
  readonly limits: Limits
  readonly connection: JournalConnection
  readonly ask: <K extends Operation>(
    operation: K,
    request: Request,
    ask: Operations[K]["ask"]
  ) => Effect.Effect<Operations[K]["answer"], JournalError>
}

const asking =
  (connection: JournalConnection, file: string): Opened["ask"] =>
  (operation, request, ask) =>
    Effect.callback((resume) =>
      connection.ask(operation, ask, (answer, failure) =>
        resume(
          failure === undefined
            ? Effect.succeed(answer as Exclude<typeof answer, undefined>)
            : Effect.fail(toError(file, request, failure))
        )
      )
    )

const sizeFault = ({ bodyBytes }: Limits, body: string): string | undefined =>
  body.length > bodyBytes
    ? `a body of ${body.length} characters, the limit is ${bodyBytes}`
    : undefined

const tooLarge = ({ file }: Limits, operation: "append" | "snapshot", detail: string) =>
  Exit.fail(new StorageFailed({ operation, reason: "too-large", file, detail }))

const appending =
  ({ connection, limits }: Opened): Store["append"] =>
  (request) =>
    direct((done) => {
      for (const { body } of request.events) {
        const fault = sizeFault(limits, body)
        if (fault !== undefined) return done(tooLarge(limits, "append", fault))
      }
      connection.append(request, (failure) =>
        done(
          failure === undefined
            ? Exit.void
            : Exit.fail(toError(limits.file, { operation: "append", ...request }, failure))
        )
      )
    })

/** Reads batches one by one; the next one is requested while the last is in use. */
const batches = (
  from: number,
  next: (event: StoredEvent) => number,
  batch: (from: number, upTo: number) => Effect.Effect<EventBatch, JournalError>
) =>
  Stream.paginate({ from, upTo: Number.MAX_SAFE_INTEGER }, (state) =>
    Effect.map(batch(state.from, state.upTo), (answer) => {
      const events = toEvents(answer)
      const last = events.at(-1)
      const from = last === undefined ? undefined : next(last)
      const isEnd = from === undefined || from > answer.upTo
      return [events, isEnd ? Option.none() : Option.some({ from, upTo: answer.upTo })] as const
    })
  ).pipe(Stream.bufferArray({ capacity: 1 }))

const reading = ({ ask, limits }: Opened): Pick<Store, "read" | "tagged"> => {
  const limit = limits.replayEvents
  return {
    read: (actor, from = 1) =>
      batches(
        from,
        (event) => event.seq + 1,
        (from, upTo) => ask("read", { operation: "read", actor }, { actor, from, upTo, limit })
      ),
    tagged: (tag, after = 0) =>
      batches(
        after,
        (event) => event.offset,
        (after, upTo) =>
          ask("tagged", { operation: "read", actor: "", tag, after }, { tag, after, upTo, limit })
      )
  }
}

const snapshots = ({ ask, limits }: Opened): Pick<Store, "saveSnapshot" | "loadSnapshot"> => ({
  saveSnapshot: ({ actor, writer }, { at, body, seq, version }) => {
    const fault = sizeFault(limits, body)
    if (fault !== undefined) return tooLarge(limits, "snapshot", fault)
    const request = { operation: "snapshot", actor, writer, expected: seq } as const
    return Effect.asVoid(ask("saveSnapshot", request, { actor, writer, seq, version, at, body }))
  },
  loadSnapshot: (actor, atMost = Number.MAX_SAFE_INTEGER) =>
    Effect.map(
      ask("loadSnapshot", { operation: "snapshot", actor }, { actor, atMost }),
      (found): Option.Option<StoredSnapshot> =>
        found === null ? Option.none() : Option.some({ actor, ...found })
    )
})

const projecting = ({ ask }: Opened): Pick<Store, "register" | "acknowledge" | "unregister"> => {
  const request = ({ name, tag }: Projection) =>
    ({ operation: "projection", actor: name, tag }) as const
  return {
    register: ({ name, tag }) => ask("register", request({ name, tag }), { name, tag }),
    acknowledge: ({ name, tag }, offset) =>
      Effect.asVoid(ask("acknowledge", request({ name, tag }), { name, tag, offset })),
    unregister: ({ name, tag }) =>
      Effect.asVoid(ask("unregister", request({ name, tag }), { name, tag }))
  }
}

/** Opens a journal file for the life of the Scope. */
export const makeSqlite = Effect.fnUntraced(function* (settings: SqliteSettings) {
  // The directory of the process may change while the journal is open.
  const limits: Limits = { ...defaults, ...settings, file: resolve(settings.file) }
  const closeWithin = millisOf(limits.closeWithin)
  assertSettings("sqlite", { ...limits, closeWithin })
  const connection = yield* Effect.acquireRelease(open(limits), (opened) =>
    Effect.callback<void>((resume) => opened.close(closeWithin, () => resume(Effect.void)))
  )
  const ask = asking(connection, limits.file)
  const opened: Opened = { limits, connection, ask }
  const store: Store = {
    ...reading(opened),
    ...snapshots(opened),
    ...projecting(opened),
    append: appending(opened),
    unstorable: ({ body }) => sizeFault(limits, body),
    claim: (actor) =>
      Effect.map(ask("claim", { operation: "claim", actor }, { actor }), (claim) => ({
        actor,
        ...claim
      })),
    prune: ({ actor, writer }, { eventsTo = 0, snapshotsBefore = 0 }) =>
      Effect.asVoid(
        ask(
          "prune",
          { operation: "prune", actor, writer },
          { actor, writer, eventsTo, snapshotsBefore }
        )
      )
  }
  return accepting(store)
})
