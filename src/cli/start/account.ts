/** An account that can be told to die. */
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Behavior from "../../actors/kernel/Behavior.ts"
import * as Decision from "../../actors/kernel/Decision.ts"

export const names = ["ann", "ben"] as const

const Pay = Rpc.make("Pay", { payload: { payment: Schema.Int }, success: Schema.Int })
const Die = Rpc.make("Die")
const Paid = Schema.TaggedStruct("Paid", { payment: Schema.Int })

interface State {
  readonly payments: number
}

/** What is told of the accounts' lives from outside of them. */
export interface Lives {
  generations: number
  diedAt: number
  recoveryMillis: number
}

export const accountOf = (lives: Lives) =>
  Behavior.make("Account", {
    commands: [Pay, Die],
    events: Paid,
    initial: { payments: 0 } as State,
    decide: {
      Pay: (_, { payment }) =>
        Decision.persist(Paid.make({ payment })).pipe(
          Decision.thenReply((state: State) => state.payments)
        ),
      Die: (): Decision.Decision<never> => {
        lives.diedAt = performance.now()
        throw new Error("killed")
      }
    },
    evolve: { Paid: ({ payments }) => ({ payments: payments + 1 }) },
    start: (_, __, { generation }) =>
      Effect.sync(() => {
        lives.generations++
        if (generation > 1) lives.recoveryMillis = performance.now() - lives.diedAt
      })
  })

export type Account = ReturnType<typeof accountOf>
