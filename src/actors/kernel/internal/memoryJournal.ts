/** A journal in memory. Each operation is one synchronous step, so it is atomic by itself. */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import {
  type Append,
  type Claim,
  EventsPruned,
  Fenced,
  type JournalError,
  type NewEvent,
  type Projection,
  SequenceConflict,
  type StoredEvent,
  type StoredSnapshot,
  UnknownProjection
} from "../../../schema/JournalRecord.ts"
import type { Store } from "./store.ts"
import { direct } from "./direct.ts"
import { accepting } from "./storable.ts"

interface History {
  writer: number
  last: number
  /** Sequence number of the newest deleted event: the one before the first of `events`. */
  pruned: number
  /** As they were appended; `StoredEvent`s are made when they are read. */
  events: Array<NewEvent>
  /** The offset of each of `events`. */
  offsets: Array<number>
  snapshots: ReadonlyArray<StoredSnapshot>
}

/** Shared by all empty lists, so that an actor without a history costs little. */
const none: Array<never> = []

interface Memory {
  readonly histories: Map<string, History>
  offset: number
  /** The newest deleted offset of each tag. */
  readonly prunedTo: Map<string, number>
  readonly projections: Array<Projection & { position: number }>
}

const historyOf = ({ histories }: Memory, actor: string): History => {
  let history = histories.get(actor)
  if (history === undefined) {
    history = { writer: 0, last: 0, pruned: 0, events: none, offsets: none, snapshots: none }
    histories.set(actor, history)
  }
  return history
}

/** The events of a history from an index on, as readers get them. */
const storedFrom = (actor: string, history: History, first: number): ReadonlyArray<StoredEvent> =>
  history.events.slice(first).map(({ at, body, tags, type, version }, index) => {
    const offset = history.offsets[first + index]
    assert(offset !== undefined)
    const seq = history.pruned + first + index + 1
    return { type, version, body, at, tags, actor, seq, offset }
  })

type Changed = Exit.Exit<void, JournalError>

/** Changes a history unless a newer writer has claimed it. */
const change = (
  memory: Memory,
  { actor, writer }: { readonly actor: string; readonly writer: number },
  how: (history: History) => Changed | void
): Changed => {
  const history = historyOf(memory, actor)
  if (history.writer === writer) return how(history) ?? Exit.void
  return Exit.fail(new Fenced({ actor, writer, by: history.writer }))
}

const guarded = (...args: Parameters<typeof change>): Effect.Effect<void, JournalError> =>
  Effect.suspend(() => change(...args))

/** Runs without a fiber, as an append to a file does. */
const append = (memory: Memory, request: Append): Effect.Effect<void, JournalError> =>
  direct((done) =>
    done(
      change(memory, request, (history) => {
        const { actor, events, expected } = request
        if (history.last !== expected) {
          return Exit.fail(new SequenceConflict({ actor, expected, actual: history.last }))
        }
        if (history.events === none) {
          history.events = []
          history.offsets = []
        }
        for (const event of events) {
          history.events.push(event)
          history.offsets.push(++memory.offset)
        }
        history.last += events.length
        return undefined
      })
    )
  )

/** Deletes events in order, up to the first one that a projection still needs. */
const pruneEvents = ({ projections, prunedTo }: Memory, history: History, eventsTo: number) => {
  const wanted = history.events.slice(0, Math.max(0, eventsTo - history.pruned))
  const offsetOf = (index: number) => history.offsets[index] ?? 0
  const needed = wanted.findIndex(({ tags }, index) =>
    projections.some(({ position, tag }) => offsetOf(index) > position && tags.includes(tag))
  )
  const count = needed === -1 ? wanted.length : needed
  for (const [index, { tags }] of wanted.slice(0, count).entries()) {
    for (const tag of tags) prunedTo.set(tag, Math.max(offsetOf(index), prunedTo.get(tag) ?? 0))
  }
  history.pruned += count
  history.events.splice(0, count)
  history.offsets.splice(0, count)
}

const projecting = (memory: Memory): Pick<Store, "register" | "acknowledge" | "unregister"> => {
  const { projections } = memory
  const indexOf = ({ name, tag }: Projection) =>
    projections.findIndex((known) => known.name === name && known.tag === tag)
  return {
    register: ({ name, tag }) =>
      Effect.sync(() => {
        const known = projections[indexOf({ name, tag })]
        if (known === undefined) projections.push({ name, tag, position: 0 })
        return known?.position ?? 0
      }),
    acknowledge: ({ name, tag }, offset) =>
      Effect.suspend(() => {
        const known = projections[indexOf({ name, tag })]
        if (known === undefined) return Effect.fail(new UnknownProjection({ name, tag }))
        const position = Math.min(offset, memory.offset)
        if (position > known.position) known.position = position
        return Effect.void
      }),
    unregister: (projection) =>
      Effect.sync(() => {
        const index = indexOf(projection)
        if (index !== -1) projections.splice(index, 1)
      })
  }
}

/** Makes an empty journal that lives as long as the value itself. */
export const makeMemory = (): Store => {
  const memory: Memory = { histories: new Map(), offset: 0, prunedTo: new Map(), projections: [] }
  return accepting({
    ...projecting(memory),
    claim: (actor) =>
      Effect.sync((): Claim => {
        const history = historyOf(memory, actor)
        history.writer++
        return { actor, writer: history.writer, last: history.last }
      }),
    append: (request) => append(memory, request),
    read: (actor, from = 1) =>
      Stream.suspend(() => {
        const history = historyOf(memory, actor)
        return Stream.fromIterable(
          storedFrom(actor, history, Math.max(0, from - history.pruned - 1))
        )
      }),
    saveSnapshot: (claim, snapshot) =>
      guarded(memory, claim, (history) => {
        const { actor, seq } = snapshot
        if (seq > history.last) {
          return Exit.fail(new SequenceConflict({ actor, expected: seq, actual: history.last }))
        }
        const others = history.snapshots.filter((other) => other.seq !== seq)
        history.snapshots = [...others, snapshot].toSorted((one, other) => one.seq - other.seq)
        return undefined
      }),
    loadSnapshot: (actor, atMost = Infinity) =>
      Effect.sync(() =>
        Option.fromUndefinedOr(
          historyOf(memory, actor).snapshots.findLast((snapshot) => snapshot.seq <= atMost)
        )
      ),
    prune: (claim, { eventsTo = 0, snapshotsBefore = 0 }) =>
      guarded(memory, claim, (history) => {
        pruneEvents(memory, history, eventsTo)
        history.snapshots = history.snapshots.filter((other) => other.seq >= snapshotsBefore)
      }),
    tagged: (tag, after = 0) =>
      Stream.suspend(() => {
        const prunedTo = memory.prunedTo.get(tag) ?? 0
        if (prunedTo > after) return Stream.fail(new EventsPruned({ tag, after, prunedTo }))
        return Stream.fromIterable(
          [...memory.histories]
            .flatMap(([actor, history]) => storedFrom(actor, history, 0))
            .filter((event) => event.offset > after && event.tags.includes(tag))
            .toSorted((a, b) => a.offset - b.offset)
        )
      })
  })
}
