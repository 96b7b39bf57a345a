/**
 * Goal: many peers at once are all served, and one silent client and one that drips cost the others
 * nothing (R11, R12). Method: 240 and 1,000 handshakes at the same time against real endpoints over
 * a simulated fabric, with and without the two, in turns; the wait of the slowest hundredth counts.
 * It is measured in processor time of this thread, which both sides share, so that other programs
 * do not count; and what it waits for besides is bounded, too.
 */
import { performance } from "node:perf_hooks"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Handshakes } from "../../../src/actors/endpoint/Handshake.ts"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { dial, onFabric, pool, tcpHost, typed, type TcpHost } from "./tcp.ts"

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1]!

let instances = 0

/** Milliseconds that this thread has used, and that its event loop has had nothing to do. */
const clock = (): { readonly used: number; readonly idle: number } => {
  const { system, user } = process.threadCpuUsage()
  return { used: (system + user) / 1_000, idle: performance.eventLoopUtilization().idle }
}

/** A whole handshake of a peer that exists in name only, and the time at its end. */
const handshake = (to: string, index: number, instance: string) =>
  Effect.gen(function* () {
    const { acknowledge, offer } = yield* Handshakes
    const half = {
      queuePairs: [2 * index, 2 * index + 1],
      gid: Gid.fromAddress("10.0.0.1")!,
      lid: 0,
      epoch: `${instance}.1` as Epoch,
      mtu: 4096 as const
    }
    const from = `10.0.0.1:${index}@peer`
    const answer = yield* offer({ from, to, half, knows: undefined, hasGate: true })
    yield* acknowledge({ from, to, half, knows: answer.half.epoch })
    return clock()
  })

/** All at once; gives the 99th percentiles. Each storm is a restart of all peers. */
const storm = ({ path }: TcpHost, peers: number) =>
  Effect.gen(function* () {
    const instance = (++instances).toString(16).padStart(8, "0")
    const since = clock()
    const times = yield* Effect.all(
      Array.from({ length: peers }, (_, index) => handshake(path, index, instance)),
      { concurrency: "unbounded" }
    )
    const slow = (of: "used" | "idle") =>
      times.map((time) => time[of] - since[of]).toSorted((a, b) => a - b)[Math.floor(peers * 0.99)]!
    return { used: slow("used"), idle: slow("idle") }
  })

/** One that says nothing, and one that drips a byte each second. */
const slow = (port: number) =>
  Effect.gen(function* () {
    const open = { silent: true, dripping: true }
    const silent = yield* dial(port)
    silent.once("close", () => void (open.silent = false)).resume()
    const dripping = yield* dial(port)
    dripping.once("close", () => void (open.dripping = false)).resume()
    const message = typed("{}")
    let at = 0
    yield* Effect.acquireRelease(
      Effect.sync(() => setInterval(() => dripping.write(message.subarray(at, ++at)), 1_000)),
      (drip) => Effect.sync(() => clearInterval(drip))
    )
    return open
  })

const rounds = 3

/** Processor time of one handshake, both sides together: more than twice what it takes. */
const mostMillis = 5
/** A server that waits for one client before the next would wait for the silent one's deadline. */
const mostIdleMillis = 2_000

describe("R11 handshakes at once", () => {
  for (const peers of [240, 1_000]) {
    it.live(
      `${peers} are not slowed by a client that is silent and one that drips`,
      () =>
        Effect.gen(function* () {
          const fabric = yield* SimFabric.make()
          const within = 60_000
          // One process stands for all peers.
          const options = { answerWithinMs: within, connectWithinMs: within, callsPerServer: peers }
          yield* Effect.gen(function* () {
            const store = { rules: { readyWithinMs: within } }
            const host = yield* tcpHost({ server: { exchangeWithinMs: within }, store })
            yield* storm(host, peers)
            const found: Array<Effect.Success<ReturnType<typeof storm>>> = []
            for (let round = 0; round < rounds; round++) {
              yield* Effect.scoped(
                Effect.gen(function* () {
                  const open = yield* slow(host.server.port)
                  found.push(yield* storm(host, peers))
                  assert.deepStrictEqual(open, { silent: true, dripping: true })
                })
              )
            }
            assert.strictEqual(host.store.size, peers)
            const states = yield* Effect.forEach(
              Array.from({ length: peers }, (_, index) => `10.0.0.1:${index}@peer`),
              (peer) => Effect.map(host.store.stateOf(peer), ({ _tag }) => _tag)
            )
            assert.deepStrictEqual([...new Set(states)], ["Ready"])
            assert.isBelow(median(found.map(({ used }) => used)), mostMillis * peers)
            assert.isBelow(median(found.map(({ idle }) => idle)), mostIdleMillis)
          }).pipe(Effect.provide(onFabric(fabric, "m", options)))
        }).pipe(Effect.provide(pool)),
      120_000
    )
  }

  it.live("beyond the limit some are closed, none waits, and the server goes on", () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      yield* Effect.gen(function* () {
        const host = yield* tcpHost({ server: { connections: 16 } })
        fabric.strike({ _tag: "SlowModify", node: "m", forMillis: 500, millis: 20 })
        const outcomes = yield* Effect.all(
          Array.from({ length: 200 }, (_, index) =>
            Effect.result(handshake(host.path, index, "eeeeeeee"))
          ),
          { concurrency: "unbounded" }
        ).pipe(Effect.timeout("20 seconds"))
        const failures = outcomes.flatMap((outcome) =>
          outcome._tag === "Failure" ? [outcome.failure] : []
        )
        assert.isAbove(failures.length, 0)
        for (const failure of failures) assert.strictEqual(failure._tag, "HandshakeFailed")
        yield* Effect.sleep("1 second")
        yield* handshake(host.path, 7, "ffffffff")
        const { lanes } = yield* (yield* IoPool).stats
        assert.strictEqual(lanes, 0)
      }).pipe(Effect.provide(onFabric(fabric, "m", { callsPerServer: 200 })))
    }).pipe(Effect.provide(pool))
  )
})
