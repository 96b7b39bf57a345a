/**
 * Checks what callers hand to a journal. Appends of many callers share a commit, so values that
 * cannot be stored are refused before that, for their caller alone.
 *
 * Text is stored as UTF-8, which has no lone surrogates: two names that differ only in them would
 * become one. Numbers beyond the safe integers would change.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  type Append,
  type NewEvent,
  NotStorable,
  type Projection
} from "../../../schema/JournalRecord.ts"
import type { Store } from "./store.ts"

type Fault = string | undefined

/** The first of these texts that is not well-formed. */
const textFault = (...texts: ReadonlyArray<string>): Fault => {
  for (const text of texts) {
    if (!text.isWellFormed()) return `${shorten(text)} has a lone surrogate`
  }
  return undefined
}

const shorten = (text: string) => {
  const shown = JSON.stringify(text)
  return shown.length > 100 ? `${shown.slice(0, 100)}...` : shown
}

const wholeFault = (what: string, number: number): Fault =>
  Number.isSafeInteger(number) ? undefined : `${what} ${number} is not a safe integer`

const timeFault = (at: number): Fault =>
  Math.abs(at) <= Number.MAX_SAFE_INTEGER ? undefined : `the time ${at} is out of range`

const claimFault = ({
  actor,
  writer
}: {
  readonly actor: string
  readonly writer: number
}): Fault => textFault(actor) ?? wholeFault("the writer", writer)

const eventFault = ({ at, body, tags, type, version }: NewEvent): Fault =>
  textFault(type, body) ??
  (tags.length === 0 ? undefined : textFault(...tags)) ??
  wholeFault("the version", version) ??
  timeFault(at)

const appendFault = (append: Append): Fault => {
  const fault = claimFault(append) ?? wholeFault("the last event", append.expected)
  if (fault !== undefined) return fault
  for (const event of append.events) {
    const fault = eventFault(event)
    if (fault !== undefined) return fault
  }
  return undefined
}

/** A journal's operations, each of which fails with `NotStorable` before it reaches the journal. */
export const accepting = (store: Store): Store => {
  const refuse = (operation: NotStorable["operation"], actor: string, detail: string) =>
    new NotStorable({ operation, actor, detail })
  const checked = <A, E>(
    operation: NotStorable["operation"],
    actor: string,
    fault: Fault,
    accepted: () => Effect.Effect<A, E>
  ): Effect.Effect<A, E | NotStorable> =>
    fault === undefined ? accepted() : Effect.fail(refuse(operation, actor, fault))
  const projection = <A, E>({ name, tag }: Projection, accepted: () => Effect.Effect<A, E>) =>
    checked("projection", name, textFault(name, tag), accepted)
  return {
    unstorable: (event) => eventFault(event) ?? store.unstorable?.(event),
    claim: (actor) => checked("claim", actor, textFault(actor), () => store.claim(actor)),
    append: (append) =>
      checked("append", append.actor, appendFault(append), () => store.append(append)),
    read: (actor, from) => {
      const fault = textFault(actor)
      return fault === undefined
        ? store.read(actor, from)
        : Stream.fail(refuse("read", actor, fault))
    },
    saveSnapshot: (claim, snapshot) => {
      const { at, body, seq, version } = snapshot
      const fault =
        claimFault(claim) ??
        textFault(body) ??
        wholeFault("the event", seq) ??
        wholeFault("the version", version) ??
        timeFault(at)
      return checked("snapshot", claim.actor, fault, () => store.saveSnapshot(claim, snapshot))
    },
    loadSnapshot: (actor, atMost) =>
      checked("snapshot", actor, textFault(actor), () => store.loadSnapshot(actor, atMost)),
    prune: (claim, limits) =>
      checked("prune", claim.actor, claimFault(claim), () => store.prune(claim, limits)),
    tagged: (tag, after = 0) => {
      const fault = textFault(tag) ?? wholeFault("the offset", after)
      return fault === undefined ? store.tagged(tag, after) : Stream.fail(refuse("read", "", fault))
    },
    register: (which) => projection(which, () => store.register(which)),
    acknowledge: (which, offset) => projection(which, () => store.acknowledge(which, offset)),
    unregister: (which) => projection(which, () => store.unregister(which))
  }
}
