/**
 * Goal: notifies that nobody takes are bounded by their bytes, also when the last one is long.
 * Method: an inbox over a queue of the test's own.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { NotifyInbox } from "../../../src/actors/endpoint/mooncake/internal/notifyInbox.ts"
import type { Notify } from "../../../src/schema/mooncake/Notify.ts"

/** A notify of so many characters, each of which counts as two bytes. */
const notify = (characters: number): Notify => ({ name: "n", message: "x".repeat(characters - 1) })

describe("an inbox of notifies", () => {
  it.effect(
    "closed: takes no notify that would exceed its bytes, and others when one is taken",
    () =>
      Effect.gen(function* () {
        const queue = yield* Queue.dropping<Notify>(8)
        const inbox = new NotifyInbox(queue, 20)
        assert.isTrue(inbox.offer(notify(6)))
        assert.isFalse(inbox.offer(notify(5)))
        assert.isTrue(inbox.offer(notify(4)))
        assert.isFalse(inbox.offer(notify(1)))
        assert.deepStrictEqual(yield* Queue.take(queue), notify(6))
        assert.isTrue(inbox.offer(notify(6)))
        assert.strictEqual(Queue.sizeUnsafe(queue), 2)
      })
  )
})
