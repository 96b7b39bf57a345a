/** A counter that can be told to misbehave: the workhorse of the kernel's tests. */
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"

const Add = Rpc.make("Add", { payload: { n: Schema.Int }, success: Schema.Int })
const AddTwice = Rpc.make("AddTwice", { payload: { n: Schema.Int }, success: Schema.Int })
const Get = Rpc.make("Get", { success: Schema.Int })
const Note = Rpc.make("Note", { payload: { text: Schema.String } })
const Break = Rpc.make("Break", {
  payload: { how: Schema.Literals(["decide", "evolve", "react", "encode"]) }
})
const Hold = Rpc.make("Hold")
const Resume = Rpc.make("Resume")
const End = Rpc.make("End", { success: Schema.Void })

const Added = Schema.TaggedStruct("Added", { n: Schema.Int })
const Noted = Schema.TaggedStruct("Noted", { text: Schema.String })
const Broken = Schema.TaggedStruct("Broken", { how: Schema.String })
const Held = Schema.TaggedStruct("Held", { on: Schema.Boolean })

export const State = Schema.Struct({ sum: Schema.Int, notes: Schema.Int, held: Schema.Boolean })
export type State = typeof State.Type

export const spec = {
  commands: [Add, AddTwice, Get, Note, Break, Hold, Resume, End],
  events: Schema.Union([Added, Noted, Broken, Held]),
  initial: { sum: 0, notes: 0, held: false } as State,
  // `Break` is here to crash the actor.
  onDefect: "crash" as const
}

const added = (n: number) => Added.make({ n })
const sum = (state: State) => state.sum

export const decide = {
  Add: (state: State, { n }: { readonly n: number }) =>
    state.held
      ? Decision.stash
      : Decision.persist(added(n)).pipe(Decision.thenReply((state: State) => state.sum)),
  AddTwice: (_: State, { n }: { readonly n: number }) =>
    Decision.persist(added(n), added(n)).pipe(Decision.thenReply(sum)),
  Get: (state: State) => Decision.reply(state.sum),
  Note: (_: State, { text }: { readonly text: string }) => Decision.persist(Noted.make({ text })),
  Break: (_: State, { how }: { readonly how: string }) => {
    if (how === "decide") throw new Error("decide broke")
    // An event that its own schema refuses: the test of a defect in encoding.
    if (how === "encode") return Decision.persist({ ...added(0), n: 0.5 })
    return Decision.persist(Broken.make({ how }))
  },
  Hold: () => Decision.persist(Held.make({ on: true })),
  Resume: () => Decision.persist(Held.make({ on: false })).pipe(Decision.thenUnstash),
  End: () => Decision.stop
}

export const evolve = {
  Added: (state: State, { n }: { readonly n: number }) => ({ ...state, sum: state.sum + n }),
  Noted: (state: State) => ({ ...state, notes: state.notes + 1 }),
  Broken: (state: State, { how }: { readonly how: string }) => {
    if (how === "evolve") throw new Error("evolve broke")
    return state
  },
  Held: (state: State, { on }: { readonly on: boolean }) => ({ ...state, held: on })
}

export const react = {
  Broken: ({ how }: { readonly how: string }) =>
    how === "react" ? Effect.die(new Error("react broke")) : Effect.void
}

export const Counter = Behavior.make("Counter", {
  ...spec,
  decide,
  evolve,
  react,
  writtenBehind: ["Noted"],
  limits: { mailbox: 8, stash: 2 }
})

export const Volatile = Behavior.make("Volatile", {
  ...spec,
  decide,
  evolve,
  react,
  history: "none",
  limits: { mailbox: 8, overflow: "drop" }
})
