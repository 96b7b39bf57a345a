/**
 * Goal: the types hold a behavior to its commands, and show a user what an actor needs and answers.
 * Method: type assertions, checked by `npm run check`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { describe, expect, it } from "tstyche"
import * as Actor from "../../src/actors/kernel/Actor.ts"
import type { AlreadyRunning, MailboxFull, Stopped } from "../../src/actors/kernel/ActorError.ts"
import * as Behavior from "../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../src/actors/kernel/Decision.ts"
import type { Journal } from "../../src/actors/kernel/Journal.ts"

class Taken extends Schema.TaggedError<Taken>()("Taken", { by: Schema.String }) {}
class Bell extends Context.Service<Bell, { readonly ring: Effect.Effect<void> }>()("Bell") {}

const Take = Rpc.make("Take", {
  payload: { by: Schema.String },
  success: Schema.Int,
  error: Taken
})
const Leave = Rpc.make("Leave")
class Took extends Schema.TaggedClass<Took>()("Took", { by: Schema.String }) {}
class Left extends Schema.TaggedClass<Left>()("Left", {}) {}

interface Rang {
  readonly _tag: "Rang"
  readonly times: number
}

type Seat = { readonly _tag: "Free" } | { readonly _tag: "Taken"; readonly by: string }

const base = {
  commands: [Take, Leave],
  events: Schema.Union([Took, Left]),
  initial: { _tag: "Free" } as Seat
}
const took = Decision.persist(new Took({ by: "ann" }))

const seat = Behavior.make("Seat", {
  ...base,
  signals: Behavior.signals<Rang>(),
  decide: {
    Take: (seat, { by }) =>
      seat._tag === "Taken"
        ? Decision.fail(new Taken({ by: seat.by }))
        : Decision.persist(new Took({ by })).pipe(Decision.thenReply(() => 1)),
    Leave: () => Decision.persist(new Left()),
    Rang: (_, { times }) => (times > 1 ? Decision.stop : Decision.none)
  },
  evolve: { Took: (_, { by }) => ({ _tag: "Taken", by }), Left: () => ({ _tag: "Free" }) },
  react: {
    Took: (_, self) =>
      Effect.gen(function* () {
        const bell = yield* Bell
        yield* Effect.addFinalizer(() => bell.ring)
        yield* self.signal.Rang({ times: 1 })
        yield* self.tell.Leave()
      })
  }
})

describe("a decision that lets its caller wait", () => {
  const later = Decision.pending<number, Taken>("seat")

  it("promises what its key promises", () => {
    expect(took.pipe(Decision.thenWait(later))).type.toBe<Decision.Decision<Took, number, Taken>>()
  })

  it("can only be settled with that", () => {
    expect(Decision.thenSettle).type.toBeCallableWith(took, later, Exit.succeed(1))
    expect(Decision.thenSettle).type.not.toBeCallableWith(took, later, Exit.succeed("one"))
  })
})

describe("a message put aside", () => {
  it("C: is not answered, and nothing follows on that", () => {
    expect(Decision.thenStop).type.not.toBeCallableWith(Decision.stash)
    expect(Decision.thenUnstash).type.not.toBeCallableWith(Decision.stash)
  })

  it("C: is no answer to the beginning of a generation", () => {
    Behavior.make("Seat", {
      ...base,
      decide: { Take: () => Decision.stash, Leave: () => Decision.none },
      evolve: { Took: (seat) => seat, Left: (seat) => seat },
      // @ts-expect-error is not assignable to type
      reconcile: () => Decision.stash
    })
  })
})

describe("a reply made from the state", () => {
  it("K12: sees the behavior's state where it is written", () => {
    Behavior.make("Seat", {
      ...base,
      decide: {
        Take: (seat, { by }) =>
          seat._tag === "Taken"
            ? Decision.fail(new Taken({ by: seat.by }))
            : Decision.persist(new Took({ by })).pipe(
                Decision.thenReply((after) => {
                  expect(after).type.toBe<Seat>()
                  return 1
                })
              ),
        Leave: (seat) =>
          seat._tag === "Free"
            ? Decision.none
            : Decision.thenReply(Decision.persist(new Left()), (after) => {
                expect(after).type.toBe<Seat>()
              })
      },
      evolve: { Took: (seat) => seat, Left: (seat) => seat }
    })
  })

  it("K12: cannot be made from the state of another behavior", () => {
    Behavior.make("Seat", {
      ...base,
      decide: {
        // @ts-expect-error is not assignable to type
        Take: () => took.pipe(Decision.thenReply((after: { readonly rows: number }) => after.rows)),
        Leave: () => Decision.none
      },
      evolve: { Took: (seat) => seat, Left: (seat) => seat }
    })
  })

  it("6: cannot be made from a narrower state than the behavior's", () => {
    Behavior.make("Seat", {
      ...base,
      decide: {
        Take: () =>
          // @ts-expect-error is not assignable to type
          took.pipe(Decision.thenReply((seat: Extract<Seat, { _tag: "Taken" }>) => seat.by.length)),
        Leave: () => Decision.none
      },
      evolve: { Took: (seat) => seat, Left: (seat) => seat }
    })
  })

  it("may be followed by what becomes of the actor", () => {
    const last = took.pipe(
      Decision.thenReply((seat: Seat) => seat._tag),
      Decision.thenStop
    )
    expect(last).type.toBe<Decision.Decision<Took, "Free" | "Taken", never, Seat>>()
  })

  it("may be promised without naming the state", () => {
    const seated = took.pipe(Decision.thenReply((seat: Seat) => seat._tag.length))
    expect(seated).type.toBeAssignableTo<Decision.Decision<Took, number>>()
  })
})

describe("a behavior", () => {
  it("needs what its effects need, and a journal; their Scope is its own", () => {
    expect<Actor.Services<typeof seat>>().type.toBe<Bell | Journal>()
  })

  it("without a history needs no journal", () => {
    const volatile = Behavior.make("Seat", {
      ...base,
      history: "none",
      decide: {
        Take: () => took.pipe(Decision.thenReply((seat: Seat) => seat._tag.length)),
        Leave: () => Decision.none
      },
      evolve: { Took: (seat) => seat, Left: (seat) => seat }
    })
    expect<Actor.Services<typeof volatile>>().type.toBe<never>()
  })

  it("answers every command with what it promises", () => {
    Behavior.make("Seat", {
      ...base,
      decide: {
        // @ts-expect-error is not assignable to type 'number'
        Take: () => Decision.reply("one"),
        Leave: () => Decision.none
      },
      evolve: { Took: (seat) => seat, Left: (seat) => seat }
    })
  })
})

describe("a state", () => {
  interface Order {
    readonly status: "new" | "placed"
    readonly items: 0 | 1
    readonly note?: string
  }

  it("keeps the literals of all its fields in what `evolve` returns", () => {
    const orders = Behavior.make("Order", {
      ...base,
      initial: { status: "new", items: 0 } as Order,
      decide: { Take: () => Decision.reply(1), Leave: () => Decision.none },
      evolve: {
        Took: (state) => ({ ...state, status: "placed", items: 1 }),
        Left: () => ({ status: "new", items: 0 })
      }
    })
    expect<Actor.Of<typeof orders>["state"]>().type.toBe<Effect.Effect<Order>>()
  })

  it("is held to its literals", () => {
    Behavior.make("Order", {
      ...base,
      initial: { status: "new", items: 0 } as Order,
      decide: { Take: () => Decision.reply(1), Leave: () => Decision.none },
      evolve: {
        // @ts-expect-error is not assignable to type
        Took: (state) => ({ ...state, status: "gone" }),
        Left: (state) => state
      }
    })
  })
})

describe("an actor", () => {
  const spawned = Actor.spawn(seat, "a")

  it("is spawned in a Scope", () => {
    expect(spawned).type.toBe<
      Effect.Effect<
        Actor.Of<typeof seat>,
        Actor.RecoveryError | AlreadyRunning,
        Scope.Scope | Bell | Journal
      >
    >()
  })

  it("is asked by name, with the command's own errors beside the actor's", () => {
    const actor = {} as Actor.Of<typeof seat>
    expect(actor.ask.Take({ by: "ann" })).type.toBe<
      Effect.Effect<number, Taken | MailboxFull | Stopped>
    >()
    expect(actor.ask.Leave()).type.toBe<Effect.Effect<void, MailboxFull | Stopped>>()
    expect(actor.ask.Take).type.not.toBeCallableWith()
    expect(actor.ask).type.not.toHaveProperty("Rang")
  })
})
