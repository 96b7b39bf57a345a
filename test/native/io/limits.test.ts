/**
 * Goal: no message of a user and no peer stops a worker or ends the process; what one lane takes,
 * others do not miss (L1, L2, L3, L12).
 * Method: messages, frames and names that exceed rings, chunks and records, beside a second lane
 * that must go on.
 */
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { IoPool, type Settings } from "../../../src/native/io/IoPool.ts"
import {
  cutText,
  detailCharacters,
  nameCharacters
} from "../../../src/native/io/internal/cutText.ts"
import { wordsFor } from "../../../src/native/io/internal/records.ts"
import { brokenRule } from "../../../src/native/io/internal/settingRules.ts"
import { certificateOf } from "./certificate.ts"
import { headBytes } from "./fixtures/relayFramer.ts"
import * as lab from "./harness.ts"

const relayFramer = new URL("./fixtures/relayFramer.ts", import.meta.url)

const counts = "a whole number from 0 to 1024"

/** Bytes that tell where they belong. */
const bytesOf = (size: number): Uint8Array => {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = i ^ (i >> 8) ^ (i >> 16)
  return bytes
}

const isSame = (frame: Uint8Array | undefined, body: Uint8Array): boolean =>
  frame !== undefined && Buffer.compare(frame.subarray(headBytes), body) === 0

describe("an accepted send", () => {
  for (const [what, settings, size] of [
    ["of 600 KB as a command", { sendBytes: 4_000_000 }, 600_000],
    ["of 1 MB with write jobs of 1 MiB", { writeJobBytes: 1_048_576 }, 1_000_000],
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
          tls: { ...certificateOf("x".repeat(40_000)), verify: "none" },
          at: lab.loopback
        })
        const lane = yield* pool.connect({
          framer: lab.labFramer,
          on: "worker",
          tls: { verify: "none" },
          to: { host: "127.0.0.1", port: listener.port }
        })
        assert.isFalse(lane.peer.tls?.authorized)
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

describe("a long frame", () => {
  for (const [what, settings, size] of [
    ["longer than all receive memory", { chunkBytes: 65_536, chunks: 4 }, 17_000_000],
    ["of 17 MiB with the default settings", {}, 17 * 1_048_576]
  ] as const) {
    it.live(`L1: ${what} arrives whole, as the next one, and stops no other lane`, () =>
      lab.withPool({ workers: 1, ...settings }, (pool) =>
        Effect.gen(function* () {
          const at = lab.loopback
          const listener = yield* pool.listen({ framer: relayFramer, on: "worker", at })
          const good = yield* lab.pair(pool, "worker")
          const peer = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          for (const body of [bytesOf(size), bytesOf(size / 2)]) {
            const head = new Uint8Array(headBytes)
            new DataView(head.buffer).setUint32(0, body.length, true)
            peer.write(head)
            peer.write(body)
            const [frame] = yield* lab.takeCount(lane, 1)
            assert.isTrue(isSame(frame, body))
          }
          good.client.send(lab.numbered(1))
          assert.strictEqual((yield* lab.takeCount(good.server, 1)).length, 1)
        })
      )
    )
  }

  it.live("L1: finds memory while idle lanes hold all that they can", () =>
    lab.withPool({ workers: 1, chunks: 2 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* pool.listen({
          framer: lab.labFramer,
          on: "worker",
          at: lab.loopback
        })
        // Reads so long that each lane takes a chunk, then silence.
        for (let n = 0; n < 6; n++) {
          const bulk = yield* lab.rawClient(listener.port)
          const lane = yield* listener.accept
          for (let i = 0; i < 50; i++) bulk.write(lab.numbered(i, 50_000))
          yield* lab.takeCount(lane, 50)
        }
        const peer = yield* lab.rawClient(listener.port)
        const lane = yield* listener.accept
        peer.write(lab.numbered(7, 1_000_000))
        const [frame] = yield* lab.takeCount(lane, 1)
        assert.strictEqual(lab.numberOf(frame!), 7)
      })
    )
  )

  it.live("L1: whose lane is closed midway leaves nothing behind", () =>
    lab.withPool({ workers: 1, chunkBytes: 65_536, chunks: 2 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* pool.listen({
          framer: relayFramer,
          on: "worker",
          at: lab.loopback
        })
        const peer = yield* lab.rawClient(listener.port)
        const lane = yield* listener.accept
        const head = new Uint8Array(headBytes)
        new DataView(head.buffer).setUint32(0, 8_000_000, true)
        peer.write(head)
        peer.write(new Uint8Array(8_000_000))
        yield* lane.abort
        const good = yield* lab.pair(pool, "worker")
        good.client.send(lab.numbered(2, 300_000))
        assert.strictEqual((yield* lab.takeCount(good.server, 1)).length, 1)
      })
    )
  )
})

describe("settings", () => {
  const refused: ReadonlyArray<readonly [string, Settings]> = [
    ["inboxWords", { inboxWords: 1_000 }],
    ["inboxWords", { inboxWords: 128 }],
    ["outboxWords", { outboxWords: 512 }],
    ["chunkBytes", { chunkBytes: 65_600 + 1 }],
    ["chunkBytes", { chunkBytes: 4_096 }],
    ["chunks", { chunks: 1 }],
    ["chunks", { chunks: 8_192 }],
    ["writeJobBytes", { writeJobBytes: 0 }],
    ["sendBytes", { sendBytes: Number.NaN }],
    ["closeWithinMs", { closeWithinMs: Number.POSITIVE_INFINITY }],
    ["stallAfterMs", { stallAfterMs: 2 ** 31 }],
    ["workers", { workers: -1 }],
    ["workers.min", { workers: { min: -1, max: 1 } }],
    ["workers.max", { workers: { min: 2, max: 1 } }]
  ]
  for (const [setting, settings] of refused) {
    it.live(`L1: ${inspect(settings)} is refused by name before anything starts`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(IoPool.layer(settings))))
        assert.strictEqual(error.setting, setting)
        assert.match(String(error), /^SettingsRefused: .*: it must be/)
      })
    )
  }

  for (const workers of [-1, 1.5, Number.NaN, Infinity, 1_025]) {
    it.live(`L1: a resize to ${workers} workers is refused, and changes nothing`, () =>
      lab.withPool({ workers: 1 }, (pool) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(pool.resize(workers))
          assert.strictEqual(error.message, `workers is ${workers}: it must be ${counts}`)
          assert.strictEqual((yield* pool.stats).workers, 1)
        })
      )
    )
  }

  it("L1: the smallest that are accepted carry every record", () => {
    const smallest: Settings = {
      inboxWords: 256,
      outboxWords: 1_024,
      chunkBytes: 65_536,
      chunks: 2,
      sendBytes: 1,
      writeJobBytes: 1,
      workers: 0
    }
    assert.isUndefined(brokenRule(smallest))
    const longestText = detailCharacters * 3 + nameCharacters * 3 + 100
    assert.isAtMost(wordsFor(longestText) + 2, 1_024 / 2)
  })
})

describe("commands to a peer that takes nothing", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`L12: are full, and pile up nowhere (${on})`, () =>
      lab.withPool({ workers: 1, sendBytes: 200_000 }, (pool) =>
        Effect.gen(function* () {
          const server = yield* lab.rawServer((socket) => void socket.pause())
          const to = { host: "127.0.0.1", port: server.port }
          const lane = yield* pool.connect({ framer: relayFramer, on, to })
          // More than the buffers of the kernel and of the lane take together.
          const most = 100_000_000
          const body = new Uint8Array(100_000)
          let sent = 0
          let isFull = false
          while (sent < most && !isFull) {
            if (lane.send(body) === "accepted") sent += body.length
            else isFull = Option.isNone(yield* Effect.timeoutOption(lane.writable, "1 second"))
          }
          assert.isBelow(sent, most)
        })
      )
    )

    it.live(`L12: that were answered and have not left are told as unsent (${on})`, () =>
      lab.withPool({ workers: 1, sendBytes: 40_000_000 }, (pool) =>
        Effect.gen(function* () {
          const server = yield* lab.rawServer((socket) => void socket.pause())
          const to = { host: "127.0.0.1", port: server.port }
          const lane = yield* pool.connect({ framer: relayFramer, on, to })
          for (let n = 0; n < 30; n++) lane.send(new Uint8Array(1_000_000))
          yield* lab.until("all answers", () =>
            Effect.map(lane.counts, ({ bytesSent }) => bytesSent >= 30_000_000)
          )
          yield* lane.close
          const end = yield* lane.closed
          assert.isTrue(
            end.reason._tag === "LaneClosed" && end.reason.unsent > 1_000_000,
            end.message
          )
        })
      )
    )
  }
})

describe("a send limit below Node's own mark", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`L12: answers of a framer go on, however small it is (${on})`, () =>
      lab.withPool({ workers: 1, sendBytes: 1_000 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: lab.labFramer, on, at: lab.loopback })
          const peer = yield* lab.rawClient(listener.port)
          yield* listener.accept
          let got = 0
          peer.on("data", (bytes) => (got += bytes.length))
          const echo = lab.frame("echo", new Uint8Array(3_000))
          for (let n = 1; n <= 20; n++) {
            peer.write(echo)
            yield* lab.until(`answer ${n}`, () => Effect.sync(() => got === n * echo.length))
          }
        })
      )
    )

    it.live(`L12: commands that write more than it are answered (${on})`, () =>
      lab.withPool({ workers: 1, sendBytes: 1_000 }, (pool) =>
        Effect.gen(function* () {
          const listener = yield* pool.listen({ framer: relayFramer, on, at: lab.loopback })
          const to = { host: "127.0.0.1", port: listener.port }
          const client = yield* pool.connect({ framer: relayFramer, on, to })
          const server = yield* listener.accept
          for (let n = 0; n < 20; n++) {
            yield* lab.send(client, new Uint8Array(3_000))
            yield* lab.takeCount(server, 1)
          }
        })
      )
    )
  }
})
