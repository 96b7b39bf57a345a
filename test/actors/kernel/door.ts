/** The door of the first example: commands, events, a signal, an effect with a resource. */
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"

export class AlreadyOpen extends Schema.TaggedError<AlreadyOpen>()("AlreadyOpen", {
  by: Schema.String
}) {}

const Open = Rpc.make("Open", {
  payload: { by: Schema.String },
  success: Schema.Void,
  error: AlreadyOpen
})
const Close = Rpc.make("Close")
const Visits = Rpc.make("Visits", { success: Schema.Int })

class Opened extends Schema.TaggedClass<Opened>()("Opened", { by: Schema.String }) {}
class Closed extends Schema.TaggedClass<Closed>()("Closed", {}) {}

export interface Elapsed {
  readonly _tag: "Elapsed"
}

export type State =
  | { readonly _tag: "Shut"; readonly visits: number }
  | { readonly _tag: "Open"; readonly by: string; readonly visits: number }

/** Closes by itself after five seconds. */
export const Door = Behavior.make("Door", {
  commands: [Open, Close, Visits],
  signals: Behavior.signals<Elapsed>(),
  events: Schema.Union([Opened, Closed]),
  initial: { _tag: "Shut", visits: 0 } as State,
  decide: {
    Open: (state, { by }) =>
      state._tag === "Open"
        ? Decision.fail(new AlreadyOpen({ by: state.by }))
        : Decision.persist(new Opened({ by })),
    Close: (state) => (state._tag === "Shut" ? Decision.none : Decision.persist(new Closed())),
    Visits: (state) => Decision.reply(state.visits),
    Elapsed: (state) => (state._tag === "Shut" ? Decision.none : Decision.persist(new Closed()))
  },
  evolve: {
    Opened: ({ visits }, { by }) => ({ _tag: "Open", by, visits: visits + 1 }),
    Closed: ({ visits }) => ({ _tag: "Shut", visits })
  },
  react: {
    Opened: (_, self) => Effect.delay(self.signal.Elapsed(), "5 seconds")
  }
})
