/**
 * Goal: no message of a user and no peer stops a worker or ends the process; what one lane takes,
 * others do not miss (L1, L2, L3, L12).
 * Method: messages, frames and names that exceed rings, chunks and records, beside a second lane
 * that must go on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { cutText } from "../../src/native/lanes/cutText.ts"
import { certificateOf } from "./certificate.ts"
import { headBytes } from "./fixtures/relayFramer.ts"
import * as lab from "./lab.ts"

const relayFramer = new URL("./fixtures/relayFramer.ts", import.meta.url)

/** Random bytes, the same for the same size. */
const bytesOf = (size: number): Uint8Array => {
  const draw = lab.generator(size)
  return new Uint8Array(size).map(() => draw(256))
}

const isSame = (frame: Uint8Array | undefined, body: Uint8Array): boolean =>
  frame !== undefined && Buffer.compare(frame.subarray(headBytes), body) === 0

describe("an accepted send", () => {
  for (const [what, settings, size] of [
    ["of 600 KB as a command", { sendBytes: 4_000_000 }, 600_000],
    ["of 1 MB with a write budget of 1 MiB", { writeBudget: 1_048_576 }, 1_000_000],
    ["of 50 KB through a ring of 16,384 words", { inboxWords: 16_384 }, 50_000]
  ] as const) {
    for (const framer of [relayFramer, lab.labFramer]) {
      const name = framer === relayFramer ? "command" : "plain"
      it.live(`L2: ${what} arrives whole (${name})`, () =>
        lab.withPool({ workers: 1, ...settings }, (pool) =>
          Effect.gen(function* () {
            const listener = yield* pool.listen({ framer, on: "worker", at: lab.loopback })
            const to = { host: "127.0.0.1", port: listener.port }
            const client = yield* pool.connect({ framer, on: "worker", to })
            const server = yield* listener.accept
            const body = bytesOf(size)
            const sent = framer === relayFramer ? body : lab.frame("plain", body)
            assert.strictEqual(client.send(sent), "accepted")
            const [frame] = yield* lab.takeCount(server, 1)
            if (framer === relayFramer) assert.isTrue(isSame(frame, body))
            else assert.strictEqual(Buffer.compare(frame!, sent), 0)
            assert.strictEqual((yield* pool.stats).workersCrashed, 0)
          })
        )
      )
    }
  }
})

describe("a peer's text", () => {
  it.live("L3: a certificate's name of 40,000 characters ends no worker", () =>
    lab.withPool({ workers: 1, outboxWords: 1_024 }, (pool) =>
      Effect.gen(function* () {
        const good = yield* lab.pair(pool, "worker")
        const listener = yield* pool.listen({
          framer: lab.labFramer,
          on: "main",
          tls: { ...certificateOf("x".repeat(40_000)), verifyPeer: false },
          at: lab.loopback
        })
        const lane = yield* pool.connect({
          framer: lab.labFramer,
          on: "worker",
          tls: { verifyPeer: false },
          to: { host: "127.0.0.1", port: listener.port }
        })
        assert.strictEqual(lane.peer.tls?.subject, `${"x".repeat(255)}…`)
        good.client.send(lab.numbered(1))
        assert.strictEqual((yield* lab.takeCount(good.server, 1)).length, 1)
        assert.strictEqual((yield* pool.stats).workersCrashed, 0)
      })
    )
  )

  it("L3: takes at most three bytes a character in a record", () => {
    for (const text of [
      "\u0000".repeat(500),
      "\ud800".repeat(500),
      "語".repeat(500),
      '"\\'.repeat(250)
    ]) {
      const cut = cutText(text, 400)
      assert.strictEqual(cut.length, 400)
      assert.isAtMost(Buffer.byteLength(JSON.stringify(cut)), 3 * 400 + 2)
    }
    assert.strictEqual(cutText("short", 400), "short")
  })
})
