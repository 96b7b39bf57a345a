/**
 * Goal: a signal is never lost without a word, whatever is full. Method: an actor whose mailbox and
 * stash take one message, and whose effects signal when the test lets them.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Actor from "../../../src/actors/kernel/Actor.ts"
import type { MailboxFull, Stopped } from "../../../src/actors/kernel/ActorError.ts"
import * as Behavior from "../../../src/actors/kernel/Behavior.ts"
import * as Decision from "../../../src/actors/kernel/Decision.ts"
import { evolve, decide, spec } from "./counter.ts"
import { settle } from "./journals.ts"

type Signal = Effect.Effect<void, MailboxFull | Stopped>

/** Leaves a signal to the test for each `Added`, and puts it aside while it is held. */
const signalling = (signals: Array<Signal>) =>
  Behavior.make("Signalling", {
    ...spec,
    history: "none",
    signals: Behavior.signals<{ readonly _tag: "Done" }>(),
    decide: {
      ...decide,
      Done: ({ held }) => (held ? Decision.stash : Decision.none)
    },
    evolve,
    react: { Added: (_, self) => Effect.sync(() => signals.push(self.signal.Done())) },
    limits: { mailbox: 1, stash: 1, overflow: "drop" }
  })

it.effect("B15: a signal to a full mailbox fails its effect, also where others are dropped", () =>
  Effect.gen(function* () {
    const signals: Array<Signal> = []
    const actor = yield* Actor.spawn(signalling(signals), "a")
    yield* actor.ask.Add({ n: 1 })
    assert.strictEqual(actor.tellUnsafe.Note({ text: "fills it" }), "accepted")
    assert.strictEqual(actor.tellUnsafe.Note({ text: "is dropped" }), "dropped")
    const full = yield* Effect.flip(signals[0]!)
    assert.deepInclude(full, { _tag: "MailboxFull", queue: "mailbox", limit: 1 })
  })
)

it.effect("B15: a signal to a full stash crashes the actor", () =>
  Effect.gen(function* () {
    const signals: Array<Signal> = []
    const actor = yield* Actor.spawn(signalling(signals), "a")
    yield* actor.ask.Add({ n: 1 })
    yield* actor.ask.Hold()
    yield* signals[0]!
    yield* settle
    yield* signals[0]!
    const { detail, reason } = yield* actor.ended
    assert.strictEqual(reason, "crashed")
    assert.include(detail, "a stash of 1 has no room for the signal Done")
  })
)
