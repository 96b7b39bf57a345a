/**
 * An actor that uses what the kernel has: replies, deferred replies, a stash, events written
 * behind, snapshots with pruning, passivation, epochs with resources and signals. Each step that
 * only the actor sees is compared with the witness of its process.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Actor from "../../../src/actors/kernel/Actor.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { Epoch } from "../../../src/schema/Epoch.ts"
import type { Life } from "./witness.ts"

const op = { op: Schema.Int }
const Deposit = Rpc.make("Deposit", { payload: op, success: Schema.Int })
const Note = Rpc.make("Note")
const Transfer = Rpc.make("Transfer", { payload: op, success: Schema.Int })
const Freeze = Rpc.make("Freeze")
const Thaw = Rpc.make("Thaw")
const Reopen = Rpc.make("Reopen")
const Promises = Rpc.make("Promises", { success: Schema.Int })
const Linger = Rpc.make("Linger")
const Break = Rpc.make("Break", { payload: { how: Schema.Literals(["decide", "react"]) } })

const Opened = Schema.TaggedStruct("Opened", { epoch: Epoch })
const Deposited = Schema.TaggedStruct("Deposited", op)
const Noted = Schema.TaggedStruct("Noted", {})
const Requested = Schema.TaggedStruct("Requested", op)
const Completed = Schema.TaggedStruct("Completed", op)
const Frozen = Schema.TaggedStruct("Frozen", { on: Schema.Boolean })
const Broke = Schema.TaggedStruct("Broke", {})
export const Event = Schema.Union([Opened, Deposited, Noted, Requested, Completed, Frozen, Broke])
export type Event = typeof Event.Type

/** What an effect tells its actor: the generation and the epoch that it was started in. */
interface Origin {
  readonly epoch: Epoch
  readonly generation: number
}
type Signal =
  | ({ readonly _tag: "Elapsed" } & Origin)
  | ({ readonly _tag: "Done"; readonly op: number } & Origin)

export const State = Schema.Struct({
  epoch: Epoch,
  /** Deposits so far. */
  count: Schema.Int,
  notes: Schema.Int,
  /** Events that are not written behind. */
  promises: Schema.Int,
  frozen: Schema.Boolean,
  open: Schema.Array(Schema.Int),
  done: Schema.Array(Schema.Int)
})
export type State = typeof State.Type

const initial: State = {
  epoch: "00000000.0" as Epoch,
  count: 0,
  notes: 0,
  promises: 0,
  frozen: false,
  open: [],
  done: []
}

const promised = (state: State, change: Partial<State>): State => ({
  ...state,
  ...change,
  promises: state.promises + 1
})

const evolve = {
  Opened: (state: State, { epoch }: typeof Opened.Type) => promised(state, { epoch }),
  Deposited: (state: State) => promised(state, { count: state.count + 1 }),
  Noted: (state: State) => ({ ...state, notes: state.notes + 1 }),
  Requested: (state: State, { op }: typeof Requested.Type) =>
    promised(state, { open: [...state.open, op] }),
  Completed: (state: State, { op }: typeof Completed.Type) =>
    promised(state, { open: state.open.filter((one) => one !== op), done: [...state.done, op] }),
  Frozen: (state: State, { on }: typeof Frozen.Type) => promised(state, { frozen: on }),
  Broke: (state: State) => promised(state, {})
}

/** The state after the events, without snapshots and without the kernel. */
export const fold = (events: ReadonlyArray<Event>): State =>
  events.reduce<State>((state, event) => {
    const step = evolve[event._tag] as (state: State, event: Event) => State
    return step(state, event)
  }, initial)

const transferred = (op: number) => Decision.pending<number>(`transfer ${op}`)
const LIMITS = { mailbox: 64, stash: 4, waiting: 4, batch: 4, unwritten: 3 }
/** As many callers as may be put aside, and as many as may wait for a later answer. */
export const ROOM = 4

/** The behavior in one life of a process. */
export const account = (life: Life) => {
  type Self = Behavior.Self<State, typeof Deposit, Signal>

  const originOf = (state: State, { id }: { readonly id: string }): Origin => ({
    epoch: state.epoch,
    generation: life.generationOf(id)
  })

  /** Holds the resource of an epoch; its timer is out of the reach of the epoch's Scope. */
  const live = (state: State, self: Self) => {
    const origin = originOf(state, self)
    const timer = Effect.delay(Effect.ignore(self.signal.Elapsed(origin)), "400 millis")
    return Effect.acquireRelease(life.acquire(self.id), life.release).pipe(
      Effect.andThen(Effect.forkDetach(timer)),
      Effect.andThen(
        Effect.forEach(state.open, (op) => complete(op, state, self), { concurrency: "unbounded" })
      )
    )
  }

  const complete = (op: number, state: State, self: Self) =>
    Effect.delay(Effect.ignore(self.signal.Done({ op, ...originOf(state, self) })), op % 30)

  return Behavior.make("Account", {
    commands: [Deposit, Note, Transfer, Freeze, Thaw, Reopen, Promises, Linger, Break],
    signals: Behavior.signals<Signal>(),
    events: Event,
    initial,
    evolve,
    epoch: ({ epoch }) => epoch,
    onDefect: "crash",
    // Every other generation goes on with the epoch of the one before.
    reconcile: (state, { generation, last }, { fresh, id }) => {
      life.recovered(id, generation, last, state)
      const next =
        generation % 2 === 0 && state.promises > 0
          ? Decision.none
          : Decision.persist(Opened.make({ epoch: fresh() }))
      return state.done.reduce(
        (decision, op) => Decision.thenSettle(decision, transferred(op), Exit.succeed(op)),
        next
      )
    },
    start: (state, self, { generation, last }) =>
      generation % 2 === 0 && last > 0 ? live(state, self) : Effect.void,
    decide: {
      Deposit: ({ frozen }, { op }) =>
        frozen
          ? Decision.stash
          : Decision.persist(Deposited.make({ op })).pipe(
              Decision.thenReply((state: State) => state.count)
            ),
      Note: () => Decision.persist(Noted.make({})),
      Transfer: (_, { op }) =>
        Decision.persist(Requested.make({ op })).pipe(Decision.thenWait(transferred(op))),
      Freeze: () => Decision.persist(Frozen.make({ on: true })),
      Thaw: () => Decision.persist(Frozen.make({ on: false })).pipe(Decision.thenUnstash),
      Reopen: (_, __, { fresh }) => Decision.persist(Opened.make({ epoch: fresh() })),
      Promises: ({ promises }) => Decision.reply(promises),
      // Only for callers that do not wait for the answer.
      Linger: () => Decision.none.pipe(Decision.thenWait(Decision.pending<void>("never"))),
      Break: (_, { how }) => {
        if (how === "decide") throw new Error("told to crash")
        return Decision.persist(Broke.make({}))
      },
      Elapsed: (state, signal, { id }) => {
        life.signalled(id, signal, state)
        return state.frozen
          ? Decision.persist(Frozen.make({ on: false })).pipe(Decision.thenUnstash)
          : Decision.persist(Noted.make({}))
      },
      Done: (state, signal, { id }) => {
        life.signalled(id, signal, state)
        const { op } = signal
        return state.open.includes(op)
          ? Decision.persist(Completed.make({ op })).pipe(
              Decision.thenSettle(transferred(op), Exit.succeed(op))
            )
          : Decision.none
      }
    },
    writtenBehind: ["Noted"],
    passivateAfter: "30 millis",
    snapshot: {
      state: State,
      every: 5,
      when: (_, { _tag }) => _tag === "Noted",
      deleteEvents: true
    },
    limits: LIMITS,
    react: {
      Opened: (_, self, state) => live(state, self),
      Requested: ({ op }, self, state) => {
        life.reacted(self.id, state)
        return complete(op, state, self)
      },
      Broke: () => Effect.fail("told to crash")
    }
  })
}

export type Account = Actor.Of<ReturnType<typeof account>>
