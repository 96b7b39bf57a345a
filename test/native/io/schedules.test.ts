/**
 * Goal: whatever happens to lanes, every accepted frame is delivered in order or its lane ends
 * with one error, and everything is given back.
 * Method: random schedules of open, send, slow peer, reset, half-close, interrupt, resize, worker
 * crash and pool stop over real sockets on loopback. Schedules of one pool run side by side and
 * disturb each other. A failure names its seed: `SCHEDULES=1 SEED=7` repeats its pool.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { IoPool, type Listener } from "../../../src/native/io/IoPool.ts"
import type { Lane } from "../../../src/native/io/Lane.ts"
import type { LaneError } from "../../../src/native/io/LaneError.ts"
import { wideOr } from "../../wide.ts"
import * as lab from "./harness.ts"

type Random = ReturnType<typeof lab.generator>
type Pool = IoPool["Service"]

const perPool = 40
const pools = Number(process.env["SCHEDULES"] ?? wideOr(30, 8))
const firstSeed = Number(process.env["SEED"] ?? 1)

/** One direction of a connection, as its two ends saw it. */
interface Flow {
  readonly from: Lane
  readonly to: Lane
  sent: number
  readonly got: Array<number>
}

/** Takes everything until the lane ends. */
const collect = (flow: Flow, slow: boolean) =>
  Effect.gen(function* () {
    while (true) {
      const frames = yield* flow.to.take
      for (const bytes of frames) flow.got.push(lab.numberOf(bytes))
      if (frames.length === 0) return
      if (slow) yield* Effect.sleep("2 millis")
    }
  }).pipe(Effect.exit)

const sendSome = Effect.fnUntraced(function* (flow: Flow, random: Random) {
  for (let left = random(40); left > 0; left--) {
    const size = random(8) === 0 ? random(200_000) : random(2_000)
    const status = flow.from.send(lab.numbered(flow.sent, size))
    if (status === "accepted") flow.sent++
    else if (status === "full")
      yield* flow.from.writable.pipe(Effect.timeoutOption("5 millis"), Effect.exit)
    else return
  }
})

/** In order, without gaps; complete when the sender closed in order and the receiver saw it. */
const judge = (flow: Flow, from: LaneError, to: LaneError, context: string): void => {
  const { got, sent } = flow
  for (let i = 0; i < got.length; i++) {
    if (got[i] !== i) assert.fail(`${context}: frame ${got[i]} at place ${i}`)
  }
  const complete =
    from.reason._tag === "LaneClosed" &&
    from.reason.unsent === 0 &&
    to.reason._tag === "PeerClosed" &&
    to.reason.missing === 0
  if (complete && got.length < sent) {
    assert.fail(`${context}: ${got.length} of ${sent} frames, ${from.message}, ${to.message}`)
  }
}

interface Listeners {
  readonly plain: ReadonlyArray<Listener>
  readonly secure: Listener
}

const openPair = Effect.fnUntraced(function* (pool: Pool, listeners: Listeners, random: Random) {
  const secure = random(5) === 0
  const listener = secure ? listeners.secure : listeners.plain[random(2)]
  if (listener === undefined) return undefined
  const client = yield* pool.connect({
    framer: lab.labFramer,
    on: random(3) === 0 ? "main" : "worker",
    halfOpen: true,
    ...(secure ? { tls: lab.tlsOf("client") } : {}),
    to: { host: "127.0.0.1", port: listener.port }
  })
  // The worker that accepts may crash before it told anyone: then the client sees an end.
  const ended = Effect.as(Effect.exit(client.take), undefined)
  const server = yield* Effect.raceFirst(listener.accept, ended)
  return server === undefined ? undefined : { client, server }
})

const step = Effect.fnUntraced(function* (pool: Pool, flows: ReadonlyArray<Flow>, random: Random) {
  const flow = flows[random(flows.length)]
  if (flow === undefined) return
  const dice = random(100)
  if (dice < 60) yield* sendSome(flow, random)
  else if (dice < 66) yield* flow.from.finish
  else if (dice < 70) yield* flow.from.abort
  else if (dice < 76) {
    const waiting = yield* Effect.forkChild(flow.from.writable)
    yield* Effect.yieldNow
    yield* Fiber.interrupt(waiting)
  } else if (dice < 80) yield* pool.resize(1 + random(3))
  else if (dice < 81) flow.from.send(lab.frame("crash"))
  else if (dice < 84) flow.from.send(lab.frame("throw"))
  else yield* Effect.sleep(`${random(3)} millis`)
})

const schedule = (pool: Pool, listeners: Listeners, seed: number) =>
  Effect.gen(function* () {
    const random = lab.generator(seed)
    const opened = yield* openPair(pool, listeners, random)
    if (opened === undefined) return 0
    const { client, server } = opened
    const there: Flow = { from: client, to: server, sent: 0, got: [] }
    const back: Flow = { from: server, to: client, sent: 0, got: [] }
    const collectors = [
      yield* Effect.forkChild(collect(there, random(4) === 0)),
      yield* Effect.forkChild(collect(back, random(4) === 0))
    ]
    for (let steps = 2 + random(8); steps > 0; steps--) yield* step(pool, [there, back], random)
    yield* client.close
    // The other end has seen the close, or closes by itself if it only saw a half of it.
    yield* server.closed.pipe(Effect.timeoutOption("100 millis"))
    yield* server.close
    const ends = [yield* client.closed, yield* server.closed] as const
    for (const collector of collectors) yield* Fiber.join(collector)
    judge(there, ends[0], ends[1], `seed ${seed}, there`)
    judge(back, ends[1], ends[0], `seed ${seed}, back`)
    assert.strictEqual(client.send(lab.numbered(0)), "closed")
    return 1
  }).pipe(Effect.scoped)

/** One pool, its schedules side by side, and a stop while lanes are still open. */
const poolOf = Effect.fnUntraced(function* (seed: number) {
  const before = lab.descriptors()
  const scope = yield* Scope.make()
  const settings = { workers: 2, sendBytes: 200_000, receiveBytes: 100_000, closeWithinMs: 400 }
  const context = yield* Layer.buildWithScope(IoPool.layer(settings), scope)
  const pool = Context.get(context, IoPool)
  const listen = (on: "worker" | "main", secure: boolean) =>
    pool.listen({
      framer: lab.labFramer,
      on,
      halfOpen: true,
      at: lab.loopback,
      ...(secure ? { tls: lab.tlsOf("server") } : {})
    })
  const random = lab.generator(seed)
  const played = yield* Effect.scoped(
    Effect.gen(function* () {
      // One listener for each schedule, so that no accept takes a neighbour's connection.
      const runs = Array.from({ length: perPool }, (_, i) =>
        Effect.scoped(
          Effect.gen(function* () {
            const listeners = {
              plain: [yield* listen("worker", false), yield* listen("main", false)],
              secure: yield* listen("worker", true)
            }
            return yield* schedule(pool, listeners, seed * 1_000 + i)
          })
        ).pipe(
          // The neighbours' crash came in between: that is an error, told.
          Effect.catchTag("SocketOpenError", () => Effect.succeed(0)),
          // Longer than the ten seconds that a connect may take to fail by itself.
          Effect.timeoutOrElse({
            duration: "30 seconds",
            orElse: () => Effect.sync(() => assert.fail(`seed ${seed * 1_000 + i} hangs`))
          })
        )
      )
      return yield* Effect.all(runs, { concurrency: 16 })
    })
  )
  const last = yield* Scope.make()
  const open = yield* Effect.gen(function* () {
    const listener = yield* listen("worker", false)
    return yield* openPair(pool, { plain: [listener, listener], secure: listener }, () => 1)
  }).pipe(Scope.provide(last), Effect.exit)
  const busy = Exit.isSuccess(open) && random(2) === 0 ? open.value?.client : undefined
  if (busy !== undefined) for (let i = 0; i < 20; i++) busy.send(lab.numbered(i, 5_000))
  yield* Scope.close(scope, Exit.void)
  const stats = yield* pool.stats
  assert.deepStrictEqual([stats.jobsOut, stats.lanes], [0, 0], `seed ${seed}`)
  yield* Scope.close(last, Exit.void)
  yield* lab.until(`descriptors of seed ${seed}`, () =>
    Effect.sync(() => lab.descriptors() <= before)
  )
  return played.reduce((sum: number, one) => sum + one, 0)
})

describe("lanes under random schedules", () => {
  it.live(
    `deliver in order or end with one error, ${pools * perPool} schedules from seed ${firstSeed}`,
    () =>
      Effect.gen(function* () {
        let played = 0
        for (let i = 0; i < pools; i++) played += yield* poolOf(firstSeed + i)
        if (pools > 1) assert.isAtLeast(played, 0.8 * pools * perPool)
      }),
    180_000
  )
})
