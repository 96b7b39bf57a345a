/** What the tests of the journal contract are written with. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Journal, type Store } from "../../../../actors/kernel/Journal.ts"
import type {
  Claim,
  JournalError,
  NewEvent,
  StoredEvent
} from "../../../../schema/JournalRecord.ts"

/**
 * One demand on a journal. The test fails, with a `ContractViolation` or with the journal's own
 * error, when the demand is not met.
 */
export interface Case {
  readonly name: string
  readonly test: Effect.Effect<void, unknown, Journal>
}

/** A case of the contract, whose test is given the journal. */
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

/** An event without tags whose body tells it from others. */
export const event = (body: string, tags: ReadonlyArray<string> = []): NewEvent => ({
  type: "Noted",
  version: 1,
  body: JSON.stringify(body),
  at: 1_700_000_000_000,
  tags
})

/** `count` events that can be told apart. */
export const events = (count: number, tags: ReadonlyArray<string> = []) =>
  Array.from({ length: count }, (_, index) => event(`${index + 1}`, tags))

/** Appends after what the claim and the number of own earlier events say. */
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

/** What was given to the journal, without what the journal added. */
export const given = ({ at, body, tags, type, version }: StoredEvent): NewEvent => ({
  type,
  version,
  body,
  at,
  tags
})
