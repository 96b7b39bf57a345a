/** Helpers for the tests of the journal contract. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../../../../actors/kernel/Journal.ts"
import type {
  Claim,
  JournalError,
  NewEvent,
  StoredEvent
} from "../../../../schema/JournalRecord.ts"

/** One test of the contract. It fails with a `ContractViolation` or with the journal's error. */
export interface Case {
  readonly name: string
  readonly test: Effect.Effect<void, unknown, Journal>
}

/** A test of the contract that gets the journal. */
export const demand = (
  name: string,
  test: (journal: Store) => Generator<Effect.Effect<unknown, unknown>, void, never>
): Case => ({
  name,
  test: Effect.gen(function* () {
    const journal = yield* Journal
    yield* Effect.gen(() => test(journal))
  })
})

/** An event without tags, with a distinct body. */
export const event = (body: string, tags: ReadonlyArray<string> = []): NewEvent => ({
  type: "Noted",
  version: 1,
  body: JSON.stringify(body),
  at: 1_700_000_000_000,
  tags
})

/** `count` distinct events. */
export const events = (count: number, tags: ReadonlyArray<string> = []) =>
  Array.from({ length: count }, (_, index) => event(`${index + 1}`, tags))

/** Appends after the events of the claim and a number of further ones. */
export const append = (
  journal: Store,
  { actor, writer }: Claim,
  expected: number,
  events: ReadonlyArray<NewEvent>
): Effect.Effect<void, JournalError> => journal.append({ actor, writer, expected, events })

/** Claims an actor and stores so many events. */
export const history = Effect.fnUntraced(function* (journal: Store, actor: string, count: number) {
  const claim = yield* journal.claim(actor)
  yield* append(journal, claim, claim.last, events(count))
  return claim
})

/** All stored events of an actor, from a sequence number on. */
export const stored = (journal: Store, actor: string, from?: number) =>
  Stream.runCollect(journal.read(actor, from))

/** The sequence numbers of an actor's stored events. */
export const sequence = (journal: Store, actor: string, from?: number) =>
  Effect.map(stored(journal, actor, from), (all) => all.map((event) => event.seq))

/** The numbers from `from` to `to`. */
export const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

/** The event as it was given to the journal, without the journal's fields. */
export const given = ({ at, body, tags, type, version }: StoredEvent): NewEvent => ({
  type,
  version,
  body,
  at,
  tags
})
