/**
 * Transfers that survive their process: an accepted one is in a journal before anything of it is
 * posted, and is resumed after a crash.
 *
 * Keys and addresses end with a process, so both sides are named. A resumed transfer waits until
 * memory of its name is registered, and then moves everything once more: parts may move twice, and
 * its operations must allow that. Its id makes it one transfer however often it is submitted, as
 * long as its end is remembered (`past`). It has a deadline, which is stored with it: every
 * accepted transfer ends.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Behavior from "../kernel/Behavior.ts"
import * as Decision from "../kernel/Decision.ts"
import { NoDescription } from "../rdma/Directory.ts"
import { Moved } from "./Transfer.ts"
import { InvalidTransfer, TooManyTransfers, TransferFailed } from "./TransferError.ts"

/** An operation by names. */
export const NamedOperation = Schema.Struct({
  op: Schema.Literals(["write", "read"]),
  /** The local memory. */
  memory: Schema.String,
  offset: Schema.Int,
  length: Schema.Int,
  /** The peer's buffer, and the offset in it. */
  buffer: Schema.String,
  at: Schema.Int
})

export type NamedOperation = typeof NamedOperation.Type

const fields = {
  id: Schema.NonEmptyString,
  peer: Schema.String,
  ops: Schema.Array(NamedOperation),
  /** Its deadline, in milliseconds since 1970, because it holds in any process. */
  until: Schema.Int
}

/** A transfer by names, and its id. */
export const Named = Schema.Struct(fields)

export type Named = typeof Named.Type

const Failure = Schema.Union([TransferFailed, InvalidTransfer, TooManyTransfers, NoDescription])
type Failure = typeof Failure.Type

const Outcome = Schema.Union([
  Schema.TaggedStruct("Moved", Moved.fields),
  Schema.TaggedStruct("Failed", { error: Failure })
])
type Outcome = typeof Outcome.Type

const exitOf = (outcome: Outcome): Exit.Exit<Moved, Failure> =>
  outcome._tag === "Failed"
    ? Exit.fail(outcome.error)
    : Exit.succeed({ moved: outcome.moved, bytes: outcome.bytes })

/** Accepts a transfer, and answers when it has ended; at once if it had ended before. */
export const Submit = Rpc.make("Submit", { payload: fields, success: Moved, error: Failure })

/** A promise to the caller: it is stored before anything is posted. */
export class Accepted extends Schema.TaggedClass<Accepted>()("Accepted", fields) {}

export class Ended extends Schema.TaggedClass<Ended>()("Ended", {
  id: Schema.String,
  outcome: Outcome
}) {}

/** The result of a transfer's work. */
interface Done {
  readonly _tag: "Done"
  readonly id: string
  readonly outcome: Outcome
}

const State = Schema.Struct({
  open: Schema.ReadonlyMap(Schema.String, Named),
  /** The last ones that ended, the oldest first. */
  ended: Schema.ReadonlyMap(Schema.String, Schema.Struct({ request: Named, outcome: Outcome })),
  /** Results of those before them, the oldest first: bytes that moved, or why they failed. */
  past: Schema.optionalKey(
    Schema.ReadonlyMap(Schema.String, Schema.Union([Schema.Int, Schema.String]))
  )
})
type State = typeof State.Type

/** Limits of the stored transfers. */
export interface Settings {
  /** Transfers that are not over. Default 1024: all of them run at the same time. */
  readonly openMax?: number | undefined
  /** Transfers that are over and still answer in full. Default 1024. */
  readonly endedMax?: number | undefined
  /**
   * Transfers that were over before those, of which only the id and the result are kept: a new
   * request with such an id moves nothing. Default 16,384: snapshots hold all of them.
   */
  readonly pastMax?: number | undefined
  /**
   * The time of a transfer without a deadline. Default a day: longer than an outage that operators
   * repair, and a transfer whose memory does not come back frees its place.
   */
  readonly within?: Duration.Input | undefined
}

const waiting = (id: string) => Decision.pending<Moved, Failure>(id)

const isSame = (one: Named, other: Named): boolean =>
  one.peer === other.peer &&
  one.ops.length === other.ops.length &&
  one.ops.every((op, index) => JSON.stringify(op) === JSON.stringify(other.ops[index]))

const clash = ({ id, peer }: Named) =>
  new InvalidTransfer({ peer, operation: undefined, detail: `another transfer has the id ${id}` })

const submit = (state: State, request: Named, limit: number) => {
  const { id, peer } = request
  const ended = state.ended.get(id)
  const past = state.past?.get(id)
  if (typeof past === "number") return Decision.reply({ moved: past, bytes: past })
  if (past !== undefined) {
    const detail = `the transfer ${id} has failed: ${past}`
    return Decision.fail(new InvalidTransfer({ peer, operation: undefined, detail }))
  }
  const known = ended?.request ?? state.open.get(id)
  if (known !== undefined && !isSame(known, request)) return Decision.fail(clash(request))
  if (ended?.outcome._tag === "Failed") return Decision.fail(ended.outcome.error)
  if (ended !== undefined) {
    const { bytes, moved } = ended.outcome
    return Decision.reply({ moved, bytes })
  }
  if (known !== undefined) return Decision.none.pipe(Decision.thenWait(waiting(id)))
  return state.open.size >= limit
    ? Decision.fail(new TooManyTransfers({ peer, limit }))
    : Decision.persist(new Accepted(request)).pipe(Decision.thenWait(waiting(id)))
}

/** The result of a transfer that ended long ago, in short. */
const lessonOf = (outcome: Outcome): number | string =>
  outcome._tag === "Moved" ? outcome.bytes : outcome.error.message.slice(0, 128)

/** The last so many; none of them for 0. */
const lastOf = <A>(all: ReadonlyArray<A>, most: number): ReadonlyArray<A> =>
  all.slice(Math.max(0, all.length - most))

/**
 * Records an end. The oldest ones become past many at a time, because each time costs all of the
 * past.
 */
const note = (
  { ended, past = new Map() }: State,
  [id, end]: readonly [string, { readonly request: Named; readonly outcome: Outcome }],
  most: { readonly ended: number; readonly past: number }
): Pick<State, "ended" | "past"> => {
  const all = [...ended, [id, end] as const]
  if (all.length <= 2 * most.ended) return { ended: new Map(all), past }
  const over = all
    .slice(0, all.length - most.ended)
    .map(([old, { outcome }]) => [old, lessonOf(outcome)] as const)
  return {
    ended: new Map(lastOf(all, most.ended)),
    past: new Map(lastOf([...past, ...over], most.past))
  }
}

/**
 * The behavior of all durable transfers of one engine. `move` moves the named memory, and waits for
 * memory that is not registered yet.
 */
export const make = (
  move: (request: Named) => Effect.Effect<Moved, Failure>,
  {
    endedMax: mostEnded = 1024,
    openMax: mostOpen = 1024,
    pastMax: mostPast = 16_384
  }: Settings = {}
) => {
  type Self = Behavior.Self<State, typeof Submit, Done>
  // An interrupted one has not ended: the actor restarts, or its process stops.
  const run = (request: Named, self: Self) =>
    move(request).pipe(
      Effect.match({
        onSuccess: (moved): Outcome => ({ _tag: "Moved", ...moved }),
        onFailure: (error): Outcome => ({ _tag: "Failed", error })
      }),
      Effect.flatMap((outcome) => self.signal.Done({ id: request.id, outcome }))
    )
  return Behavior.make("Transfers", {
    commands: [Submit],
    signals: Behavior.signals<Done>(),
    events: Schema.Union([Accepted, Ended]),
    initial: { open: new Map(), ended: new Map() } as State,
    snapshot: { state: State, every: 256, deleteEvents: true },
    decide: {
      Submit: (state, request) => submit(state, request, mostOpen),
      Done: (state, { id, outcome }) =>
        state.open.has(id)
          ? Decision.persist(new Ended({ id, outcome })).pipe(
              Decision.thenSettle(waiting(id), exitOf(outcome))
            )
          : Decision.none
    },
    evolve: {
      Accepted: (state, { id, ops, peer, until }) => ({
        ...state,
        open: new Map(state.open).set(id, { id, ops, peer, until })
      }),
      Ended: (state, { id, outcome }) => {
        const open = new Map(state.open)
        const request = open.get(id)!
        open.delete(id)
        const most = { ended: mostEnded, past: mostPast }
        return { open, ...note(state, [id, { request, outcome }], most) }
      }
    },
    // After a failed append an end may be stored of which waiting callers were not notified.
    reconcile: ({ ended }) =>
      [...ended].reduce(
        (decision, [id, { outcome }]) =>
          Decision.thenSettle(decision, waiting(id), exitOf(outcome)),
        Decision.none
      ),
    react: { Accepted: run },
    // Resumes the transfers that a crash has left.
    start: ({ open }, self) =>
      Effect.forEach([...open.values()], (request) => run(request, self), {
        concurrency: "unbounded",
        discard: true
      })
  })
}
