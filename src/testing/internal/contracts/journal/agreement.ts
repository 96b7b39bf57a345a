/**
 * A model-based test: random operations run on a journal and on one in memory, and must have the
 * same answers.
 *
 * Writers and offsets are numbers of the journal's choice. Operations name a claim by its index in
 * the list of all claims, and an offset by the count of events stored up to it; answers are brought
 * to the same form before they are compared.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { makeMemory } from "../../../../actors/kernel/internal/memoryJournal.ts"
import { Journal, type Store } from "../../../../actors/kernel/Journal.ts"
import type {
  Claim,
  JournalError,
  NewEvent,
  Projection,
  StoredEvent
} from "../../../../schema/JournalRecord.ts"
import { type ContractViolation, same } from "../contract.ts"
import { Prng } from "../../sim/prng.ts"

const actors = ["a", "b", "é\0"]
const tags = ["t", "u", "é\0"]
/** Values that no journal can store: a lone surrogate, and a time that is no number. */
const lone = "\ud800"
const projections = ["x", "y"].flatMap((name) => tags.map((tag): Projection => ({ name, tag })))

type Operation =
  | { readonly do: "claim"; readonly actor: string }
  | {
      readonly do: "append"
      readonly claim: number
      readonly expected: number
      readonly events: ReadonlyArray<NewEvent>
    }
  | { readonly do: "read"; readonly actor: string; readonly from: number | undefined }
  | {
      readonly do: "saveSnapshot"
      readonly claim: number
      readonly seq: number
      readonly version: number
      readonly body: string
    }
  | { readonly do: "loadSnapshot"; readonly actor: string; readonly atMost: number | undefined }
  | {
      readonly do: "prune"
      readonly claim: number
      readonly limits: { readonly eventsTo?: number; readonly snapshotsBefore?: number }
    }
  | { readonly do: "tagged"; readonly tag: string; readonly after: number }
  | { readonly do: "register" | "unregister"; readonly projection: Projection }
  | { readonly do: "acknowledge"; readonly projection: Projection; readonly upTo: number }
  | { readonly do: "reopen" }

/** One of the two journals, with its claims and offsets. */
class Side {
  store: Store
  readonly claims: Array<Claim> = []
  readonly #offsets: Array<number> = []

  constructor(store: Store) {
    this.store = store
  }

  /** Keeps the offsets of newly stored events. */
  stored(events: ReadonlyArray<StoredEvent>) {
    for (const { offset } of events) this.#offsets.push(offset)
  }

  /** The offset of the n-th event; beyond the newest one, an offset that no event has. */
  offsetOf(count: number): number {
    const newest = this.#offsets.at(-1) ?? 0
    return count === 0 ? 0 : (this.#offsets[count - 1] ?? newest + 1000)
  }

  countOf(offset: number): number {
    return offset === 0 ? 0 : this.#offsets.indexOf(offset) + 1
  }
}

const eventsOf = (side: Side, events: Stream.Stream<StoredEvent, JournalError>) =>
  Effect.map(Stream.runCollect(events), (all) =>
    all.map(({ offset, ...event }) => ({ ...event, offset: side.countOf(offset) }))
  )

/** Runs an operation, and returns its visible result. */
const carryOut = (side: Side, operation: Operation): Effect.Effect<unknown, JournalError> => {
  const { claims, store } = side
  switch (operation.do) {
    case "claim":
      return Effect.map(store.claim(operation.actor), (claim) => {
        claims.push(claim)
        return claim.last
      })
    case "append": {
      const { events, expected } = operation
      const { actor, writer } = claims[operation.claim]!
      return store.append({ actor, writer, expected, events }).pipe(
        Effect.andThen(Stream.runCollect(store.read(actor, expected + 1))),
        Effect.map((stored) => side.stored(stored.slice(0, events.length)))
      )
    }
    case "read":
      return eventsOf(side, store.read(operation.actor, operation.from))
    case "saveSnapshot": {
      const { body, seq, version } = operation
      const claim = claims[operation.claim]!
      return store.saveSnapshot(claim, { actor: claim.actor, seq, version, body, at: seq })
    }
    case "loadSnapshot":
      return Effect.map(
        store.loadSnapshot(operation.actor, operation.atMost),
        Option.getOrUndefined
      )
    case "prune":
      return store.prune(claims[operation.claim]!, operation.limits)
    case "tagged":
      return eventsOf(side, store.tagged(operation.tag, side.offsetOf(operation.after)))
    case "register":
      return Effect.map(store.register(operation.projection), (at) => side.countOf(at))
    case "acknowledge":
      return store.acknowledge(operation.projection, side.offsetOf(operation.upTo))
    case "unregister":
      return store.unregister(operation.projection)
    case "reopen":
      return Effect.void
  }
}

/** An error without the numbers that are the journal's choice. */
const comparable = (side: Side, error: JournalError): unknown => {
  if (error._tag === "Fenced") return { _tag: error._tag, actor: error.actor }
  if (error._tag !== "EventsPruned") return { ...error }
  const { _tag, after, prunedTo, tag } = error
  return { _tag, tag, after: side.countOf(after), prunedTo: side.countOf(prunedTo) }
}

const answerOf = (side: Side, operation: Operation) =>
  Effect.match(carryOut(side, operation), {
    onFailure: (error) => ({ failed: comparable(side, error) }),
    onSuccess: (answer) => ({ answered: answer })
  })

/** Draws operations, most of which are allowed. */
class Draw {
  readonly #random: Prng
  readonly #canReopen: boolean
  /** The actor of each claim, in order, and the newest claim of each actor in this opening. */
  readonly #claims: Array<string> = []
  readonly #newest = new Map<string, number>()
  readonly #last = new Map<string, number>()
  #events = 0

  constructor(seed: number, canReopen: boolean) {
    this.#random = new Prng(seed, "journal")
    this.#canReopen = canReopen
  }

  next(): Operation {
    const random = this.#random
    const actor = random.pick(actors)
    const last = this.#last.get(actor) ?? 0
    const near = Math.max(0, last + 2 - random.byMagnitude(6))
    const maybe = random.chance(0.3) ? undefined : near
    const projection = random.pick(projections)
    const count = Math.max(0, this.#events + 1 - random.byMagnitude(8))
    const kind = random.below(100)
    const newest = this.#newest.get(actor)
    const isClaimed = newest !== undefined || (this.#claims.length > 0 && random.chance(0.3))
    if (kind < 1) return { do: "claim", actor: lone }
    if (kind < 8 || !isClaimed) return { do: "claim", actor }
    // An old claim, now and then, also when there is no newer one in this opening.
    const old = random.chance(0.1) ? random.below(this.#claims.length) : -1
    const claim = old >= 0 ? old : (newest ?? this.#claims.length - 1)
    if (kind < 40) return this.#append(claim, random.chance(0.1) ? near : last)
    if (kind < 50) return { do: "read", actor, from: maybe }
    if (kind < 60) return this.#snapshot(claim, near + 1)
    if (kind < 68) return { do: "loadSnapshot", actor, atMost: maybe }
    if (kind < 78) return { do: "prune", claim, limits: this.#limits(near) }
    if (kind < 88) return { do: "tagged", tag: projection.tag, after: count }
    if (kind < 91) return { do: "register", projection }
    if (kind < 97) return { do: "acknowledge", projection, upTo: count }
    if (kind < 98) return { do: "unregister", projection }
    return this.#canReopen ? { do: "reopen" } : { do: "read", actor, from: undefined }
  }

  /** Records an operation that both journals have executed. */
  done(operation: Operation) {
    if (operation.do === "reopen") this.#newest.clear()
    if (operation.do === "claim") {
      this.#newest.set(operation.actor, this.#claims.push(operation.actor) - 1)
    }
    if (operation.do !== "append") return
    const { claim, events, expected } = operation
    this.#last.set(this.#claims[claim]!, expected + events.length)
    this.#events += events.length
  }

  #append(claim: number, expected: number): Operation {
    const random = this.#random
    const length = random.byMagnitude(random.chance(0.05) ? 7 : 3)
    const events = Array.from({ length }, (_, index) => ({
      type: random.pick(["T", "U"]),
      version: random.between(1, 3),
      body: JSON.stringify(`${this.#events + index}`.repeat(random.byMagnitude(5))),
      at: random.chance(0.01) ? NaN : random.double(),
      tags: [...tags, lone].filter((tag) => random.chance(tag === lone ? 0.01 : 0.3))
    }))
    return { do: "append", claim, expected, events }
  }

  #snapshot(claim: number, seq: number): Operation {
    const random = this.#random
    const [version, body] = [random.between(1, 3), `"${random.below(1000)}"`]
    return { do: "saveSnapshot", claim, seq, version, body }
  }

  #limits(near: number) {
    const random = this.#random
    return {
      ...(random.chance(0.7) ? { eventsTo: near } : {}),
      ...(random.chance(0.5) ? { snapshotsBefore: near } : {})
    }
  }
}

const everything: ReadonlyArray<Operation> = [
  ...actors.map((actor): Operation => ({ do: "read", actor, from: undefined })),
  ...actors.map((actor): Operation => ({ do: "loadSnapshot", actor, atMost: undefined })),
  ...actors.map((actor): Operation => ({ do: "claim", actor })),
  ...tags.map((tag): Operation => ({ do: "tagged", tag, after: 0 })),
  ...projections.map((projection): Operation => ({ do: "register", projection }))
]

/** Settings of the comparison of two journals. */
export interface AgreementOptions<E, R> {
  /** Equal seeds give equal operations. */
  readonly seed: number
  /** Default 200: most pairs of operations meet, in well under a second on a slow disk. */
  readonly operations?: number | undefined
  readonly journal: Layer.Layer<Journal, E, R>
  /** Whether stored data survive until the layer is built again. Default false. */
  readonly outlivesLayer?: boolean | undefined
}

/** Fails with the first operation whose answers differ. */
export const agreement = Effect.fnUntraced(function* <E, R>({
  journal,
  operations = 200,
  outlivesLayer = false,
  seed
}: AgreementOptions<E, R>): Effect.fn.Return<void, E | ContractViolation, R> {
  let scope = yield* Scope.make()
  const open = Effect.suspend(() => Layer.buildWithScope(Layer.fresh(journal), scope)).pipe(
    Effect.map(Context.get(Journal))
  )
  const compare = Effect.gen(function* () {
    const model = new Side(makeMemory())
    const subject = new Side(yield* open)
    const draw = new Draw(seed, outlivesLayer)
    for (let index = 0; index < operations + everything.length; index++) {
      const operation = index < operations ? draw.next() : everything[index - operations]!
      if (operation.do === "reopen") {
        yield* Scope.close(scope, Exit.void)
        scope = yield* Scope.make()
        subject.store = yield* open
        // No claim outlives an opening.
        yield* Effect.forEach(actors, model.store.claim).pipe(Effect.orDie)
      }
      const expected = yield* answerOf(model, operation)
      const what = `seed ${seed}, operation ${index + 1}, ${JSON.stringify(operation)}`
      yield* same(yield* answerOf(subject, operation), expected, what)
      if ("answered" in expected) draw.done(operation)
    }
  })
  yield* Effect.ensuring(
    compare,
    Effect.suspend(() => Scope.close(scope, Exit.void))
  )
})
