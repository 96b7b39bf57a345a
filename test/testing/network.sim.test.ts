/**
 * Goal: a program of real lanes on a simulated network meets what TCP can do to it, and the run
 * repeats: cuts at every byte, cuts in one direction, resets, delays, half-open connections, a
 * kill, and TLS that is refused after its connect.
 * Method: a client numbers its messages and connects again until the server has them all; each
 * fault has a run of its own in which it must strike, and one in which all of them are drawn.
 */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Chaos, Faults } from "../../src/testing/index.ts"
import type { FabricFault } from "../../src/native/sim/FabricFault.ts"
import { IoPool, type TlsSettings } from "../../src/native/io/IoPool.ts"
import { lengthPrefixed } from "../../src/native/io/Framer.ts"
import * as Network from "../../src/testing/Network.ts"
import { it } from "../../src/testing/vitest.ts"
import { wideOr } from "../wide.ts"

const port = 7_000

/** Message number `k` of these, long enough to be cut. */
const message = (k: number): Uint8Array => {
  const bytes = Buffer.alloc(40, k)
  bytes.writeUInt32BE(36, 0)
  bytes.writeUInt32BE(k, 4)
  return bytes
}

const numberOf = (bytes: Uint8Array): number => {
  assert.strictEqual(bytes.length, 40)
  const number = Buffer.from(bytes).readUInt32BE(4)
  assert.isTrue(bytes.subarray(8).every((byte) => byte === number % 256))
  return number
}

interface Log {
  /** Numbers that the server has read, connection by connection. */
  readonly read: Array<Array<number>>
  ends: Array<string>
  connects: number
}

const newLog = (): Log => ({ read: [], ends: [], connects: 0 })

const count = 20

/** Answers each message with itself. */
const server = (log: Log, tls?: TlsSettings) =>
  Effect.gen(function* () {
    const pool = yield* IoPool
    const at = { host: "0.0.0.0", port }
    const options = { framer: lengthPrefixed, at, ...(tls && { tls }) }
    yield* pool.serve(options, (lane) => {
      const read: Array<number> = []
      log.read.push(read)
      return lane.run((batch) => {
        for (let k = 0; k < batch.count; k++) read.push(numberOf(batch.copy(k)))
        lane.send(batch.all)
      })
    })
    return yield* Effect.never
  }).pipe(Effect.scoped)

/** Sends each message until its answer has come, on as many connections as it takes. */
const client = (log: Log, host: string, tls?: TlsSettings) =>
  Effect.gen(function* () {
    const pool = yield* IoPool
    let next = 0
    const attempt = Effect.gen(function* () {
      const to = { host, port }
      const lane = yield* pool.connect({ framer: lengthPrefixed, to, ...(tls && { tls }) })
      log.connects++
      while (next < count) {
        // A lane that has ended says why to the reader.
        lane.send(message(next))
        for (const answer of yield* Effect.timeout(lane.take, "2 seconds")) {
          if (numberOf(answer) === next) next++
        }
        yield* Effect.sleep("10 millis")
      }
    }).pipe(Effect.scoped)
    const again = Effect.gen(function* () {
      const exit = yield* Effect.exit(attempt)
      log.ends.push(Exit.isSuccess(exit) ? "done" : String(exit.cause))
      yield* Effect.sleep("20 millis")
    })
    yield* Effect.repeat(again, { until: () => next === count })
  })

const isRising = (numbers: ReadonlyArray<number>): boolean =>
  numbers.every((number, k) => k === 0 || number === numbers[k - 1]! + 1)

/** Everything arrives whole and in order, and nothing is left open. */
const talk = (log: Log, faults: Effect.Effect<unknown>, segments: "random" | "bytes" = "random") =>
  Effect.gen(function* () {
    const net = yield* Network.make({ nodes: ["a", "b"], segments })
    const serving = yield* net.run("b", server(log))
    const sending = yield* net.run("a", client(log, net.addressOf("b")), {
      onFailure: { restartAfter: "10 millis" }
    })
    yield* faults
    yield* Effect.sleep("1 second")
    yield* Faults.heal
    yield* Effect.timeout(sending.exit, "60 seconds")
    assert.isTrue(log.read.every(isRising))
    assert.includeMembers(log.read.flat(), [0, count - 1])
    yield* serving.crash
    yield* Effect.sleep("1 second")
    assert.strictEqual(net.openSockets(), 0)
    return net
  })

const strike = (fault: FabricFault) =>
  Faults.install([{ _tag: "Fabric", at: { millis: 100 }, fault }])

const seeds = { seeds: wideOr(200, 10), shrinkAttempts: 0 }

describe("lanes on a simulated network", () => {
  it.sim("are cut at every byte and put together again", seeds, () => {
    const log = newLog()
    return Effect.map(talk(log, Effect.void, "bytes"), () => assert.strictEqual(log.connects, 1))
  })

  it.sim("wait while one direction is cut, and lose nothing", seeds, () => {
    const log = newLog()
    const fault: FabricFault = { _tag: "Cut", from: "a", to: "b", forMillis: 500 }
    return Effect.map(talk(log, strike(fault)), () => assert.strictEqual(log.connects, 1))
  })

  it.sim("end with a reset, whose code says so, and can be opened again", seeds, () => {
    const log = newLog()
    return Effect.map(talk(log, strike({ _tag: "Reset", node: "a" })), () => {
      assert.strictEqual(log.connects, 2)
      assert.include(log.ends[0], "ECONNRESET")
    })
  })

  it.sim("say nothing when a connection is half open", seeds, () => {
    const log = newLog()
    return Effect.map(talk(log, strike({ _tag: "HalfOpen", from: "a", to: "b" })), () => {
      assert.strictEqual(log.connects, 2)
      assert.include(log.ends[0], "Timeout")
    })
  })

  it.sim("survive all of it, drawn at random", { seeds: wideOr(1_000, 30) }, () => {
    const log = newLog()
    const faults = Faults.random({
      crash: ["a", "b"],
      pause: ["a", "b"],
      cut: ["a", "b"],
      slow: true,
      within: "1 second"
    })
    const again = Effect.suspend(() => Chaos.sometimes("connected again", log.connects > 1))
    return Effect.andThen(talk(log, faults), again)
  })

  it.sim("have timers on the simulation's clock", seeds, () =>
    Effect.gen(function* () {
      const net = yield* Network.make({ nodes: ["a"], pool: { openWithinMs: 3_000 } })
      const dialling = yield* net.run(
        "a",
        Effect.gen(function* () {
          const pool = yield* IoPool
          const to = { host: "10.9.9.9", port }
          return yield* Effect.exit(pool.connect({ framer: lengthPrefixed, to }))
        }).pipe(Effect.scoped, Effect.timed)
      )
      const exit = yield* dialling.exit
      assert.isTrue(Exit.isSuccess(exit))
      if (!Exit.isSuccess(exit)) return
      const [waited, failed] = exit.value
      assert.isTrue(Exit.isFailure(failed))
      assert.isAtLeast(Duration.toMillis(waited), 3_000)
    })
  )
})

const certified = {
  cert: "a certificate",
  key: "its key",
  ca: "an authority",
  verify: "chain"
} as const

/** What becomes of one connect over TLS: how it ended, if it did not open, and how its lane did. */
const connectOver = (
  client: TlsSettings | undefined,
  server: TlsSettings | undefined,
  refused = false
) =>
  Effect.gen(function* () {
    const net = yield* Network.make({ nodes: ["a", "b"] })
    yield* net.run("b", serveOver(server))
    if (refused) yield* strike({ _tag: "TlsRefusal", node: "b", forMillis: 5_000 })
    yield* Effect.sleep("200 millis")
    const found = yield* Deferred.make<{ readonly isOpen: boolean; readonly end: string }>()
    yield* net.run(
      "a",
      Effect.gen(function* () {
        const pool = yield* IoPool
        const to = { host: net.addressOf("b"), port }
        const tls = client && { tls: client }
        const opened = yield* Effect.result(pool.connect({ framer: lengthPrefixed, to, ...tls }))
        if (opened._tag === "Failure") {
          const end = `${opened.failure.step} ${opened.failure.code}`
          return yield* Deferred.succeed(found, { isOpen: false, end })
        }
        opened.success.send(message(1))
        const read = yield* Effect.result(opened.success.take)
        const end = read._tag === "Success" ? "answered" : read.failure.message
        return yield* Deferred.succeed(found, { isOpen: true, end })
      }).pipe(Effect.scoped)
    )
    return yield* Deferred.await(found)
  })

const serveOver = (tls: TlsSettings | undefined) => server(newLog(), tls)

describe("TLS on a simulated network", () => {
  it.sim("opens between sides of one authority", seeds, () =>
    Effect.map(connectOver(certified, certified), (found) =>
      assert.deepStrictEqual(found, { isOpen: true, end: "answered" })
    )
  )

  it.sim("is refused after its connect when the client has no certificate", seeds, () =>
    Effect.map(connectOver({ ca: "an authority", verify: "chain" }, certified), (found) => {
      assert.isTrue(found.isOpen)
      assert.include(found.end, "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED")
    })
  )

  it.sim("is refused after its connect while a fault says so", seeds, () =>
    Effect.map(connectOver(certified, certified, true), (found) => {
      assert.isTrue(found.isOpen)
      assert.include(found.end, "ERR_SSL")
    })
  )

  it.sim("is refused by a client that does not trust the server", seeds, () =>
    Effect.map(connectOver({ ...certified, ca: "another" }, certified), (found) => {
      assert.isFalse(found.isOpen)
      assert.match(found.end, /^tls ERR_TLS/)
    })
  )

  it.sim("does not open where one side speaks none", seeds, () =>
    Effect.gen(function* () {
      const plain = yield* connectOver(undefined, certified)
      assert.notStrictEqual(plain.end, "answered")
    })
  )

  it.sim("does not open to a server that speaks none", seeds, () =>
    Effect.map(connectOver(certified, undefined), ({ isOpen }) => assert.isFalse(isOpen))
  )
})
