/**
 * Goal: the queue before the journal's worker: what is with the worker counts towards the limits,
 * and every caller hears of the worker's end, also one whose append still waits here.
 * Method: a worker that answers nothing but what the test says.
 */
import { EventEmitter } from "node:events"
import type { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { JournalConnection, type QueueLimits } from "../../src/native/sqlite/journalConnection.ts"
import type { Failure, FromWorker, ToWorker } from "../../src/native/sqlite/protocol.ts"

/** Keeps what it is sent. */
class SilentWorker extends EventEmitter {
  readonly bodies: Array<string> = []
  ref() {}
  unref() {}
  postMessage(message: ToWorker) {
    if (message !== "close") this.bodies.push(...(message.append?.bodies ?? []))
  }
  /** Answers that the appends of the batches up to this one are stored. */
  store(decided: number) {
    this.emit("message", { decided, refused: [], outcomes: [] } satisfies FromWorker)
  }
}

const immediate = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** Each lets two appends be with the worker at once. */
const limitsOfTwo = [
  ["bytes", { appends: 100, bytes: 1000 }],
  ["appends", { appends: 2, bytes: 100_000 }]
] as const

/** Three times two appends of 400 bytes each, of which two fit within the limits. */
const overfill = Effect.fnUntraced(function* (limits: QueueLimits) {
  const worker = new SilentWorker()
  const connection = new JournalConnection(worker as unknown as Worker, limits)
  const heard: Array<Failure | undefined> = []
  const events = [{ type: "T", version: 1, body: "x".repeat(400), at: 0, tags: [] }]
  for (let turn = 0; turn < 3; turn++) {
    for (const expected of [2 * turn, 2 * turn + 1]) {
      const request = { actor: "a", writer: 1, expected, events }
      connection.append(request, (failure) => heard.push(failure))
    }
    // The connection sends what fits in the immediate that it has just asked for.
    yield* immediate
  }
  return { heard, worker }
})

describe("the queue before the journal's worker", () => {
  for (const [what, limits] of limitsOfTwo) {
    it.live(`counts the ${what} that were sent in earlier turns and are not stored yet`, () =>
      Effect.gen(function* () {
        const { worker } = yield* overfill(limits)
        assert.strictEqual(worker.bodies.length, 2)
      })
    )

    it.live(`gives the room of the ${what} that are stored to what waits`, () =>
      Effect.gen(function* () {
        const { heard, worker } = yield* overfill(limits)
        for (const stored of [1, 2]) {
          worker.store(stored)
          yield* immediate
          assert.strictEqual(heard.length, 2 * stored)
          assert.strictEqual(worker.bodies.length, 2 + 2 * stored)
        }
      })
    )
  }

  it.live("fails every append when the worker ends, sent or not", () =>
    Effect.gen(function* () {
      const { heard, worker } = yield* overfill(limitsOfTwo[0][1])
      assert.deepStrictEqual(heard, [])
      worker.emit("exit", 0)
      assert.strictEqual(heard.length, 6)
      for (const failure of heard) {
        assert.deepInclude(failure, { kind: "storage", reason: "closed" })
      }
    })
  )
})
