/**
 * Goal: each completion reaches the work that it ends, once, whatever numbers queue pairs have.
 * Method: a completion queue of the test's own, filled by hand.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { CompletionRouter, type Work } from "../../../src/actors/rdma/CompletionRouter.ts"
import type { CompletionBatch, CompletionQueue } from "../../../src/native/verbs/Completion.ts"
import { Released } from "../../../src/native/verbs/VerbsError.ts"

/** A queue that the test fills. */
const makeQueue = (largestId?: number) => {
  const ended: Array<number> = []
  const release = Deferred.makeUnsafe<void, Released>()
  const queue: CompletionQueue = {
    capacity: 4_096,
    reserved: 0,
    poll: (batch: CompletionBatch) => {
      const ids = ended.splice(0, batch.limit)
      for (const [index, id] of ids.entries()) Object.assign(batch.at(index), { id, queuePair: 9 })
      return (batch.count = ids.length)
    },
    ready: Deferred.await(release),
    completions: Stream.empty
  }
  return { ended, release, router: new CompletionRouter(queue, largestId) }
}

/** Work that writes down how it ended. */
const recorded = (log: Array<string>, name: string): Work => ({
  completed: ({ status }) => void log.push(`${name} ${status}`)
})

describe("a completion router", () => {
  it("G16: finds work by its id, so a late completion does not end the work of another one", () => {
    const { ended, router } = makeQueue()
    const log: Array<string> = []
    const old = router.add(recorded(log, "old"))
    router.remove(old)
    const next = router.add(recorded(log, "next"))
    ended.push(old, old, next, next)
    router.drain()
    assert.deepStrictEqual(log, ["next success"])
    assert.strictEqual(router.size, 0)
  })

  it("G16: gives no id to two kinds of work when ids come round again", () => {
    const { ended, router } = makeQueue(3)
    const log: Array<string> = []
    const long = router.add(recorded(log, "long"))
    for (let n = 0; n < 9; n++) {
      const id = router.add(recorded(log, `short ${n}`))
      assert.notStrictEqual(id, long)
      ended.push(id)
      router.drain()
    }
    ended.push(long)
    router.drain()
    assert.strictEqual(log.at(-1), "long success")
    assert.lengthOf(log, 10)
  })

  it("calls what was put off once, after all completions of the batch", () => {
    const { ended, router } = makeQueue()
    const log: Array<string> = []
    const turn = () => void log.push("turn")
    const work = (name: string): Work => ({
      completed: () => {
        log.push(name)
        router.afterBatch(turn)
      }
    })
    ended.push(router.add(work("a")), router.add(work("b")))
    router.drain()
    assert.deepStrictEqual(log, ["a", "b", "turn"])
    router.afterBatch(turn)
    assert.lengthOf(log, 4)
  })

  it("routes what ends while it routes, without a second run inside of the first", () => {
    const { ended, router } = makeQueue()
    const log: Array<string> = []
    const inner = router.add(recorded(log, "inner"))
    const outer = router.add({
      completed: () => {
        ended.push(inner)
        router.drain()
        log.push("outer")
      }
    })
    ended.push(outer)
    router.drain()
    assert.deepStrictEqual(log, ["outer", "inner success"])
  })

  it.effect("C3: flushes all work when the device is gone", () =>
    Effect.gen(function* () {
      const { ended, release, router } = makeQueue()
      const log: Array<string> = []
      ended.push(router.add(recorded(log, "ended")))
      router.add(recorded(log, "posted"))
      const running = yield* Effect.forkChild(router.run)
      const gone = new Released({ resource: "completion queue", reason: "device-removed" })
      yield* Deferred.fail(release, gone)
      assert.strictEqual(yield* Effect.flip(Fiber.join(running)), gone)
      assert.deepStrictEqual(log, ["ended success", "posted flushed"])
    })
  )
})
