/**
 * What lives long on a real driver: connections that come and go leave nothing, events reach
 * who waits for them, and the event loop sleeps while nothing happens.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { readdirSync } from "node:fs"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { end, type End, nextStatus, pair, receiving, sending, works } from "./ends.ts"
import { type Named, report } from "./report.ts"
import { until } from "./until.ts"

const rounds = Number(process.env["ROUNDS"] ?? 100)
/** Growth of the heap that is noise. */
const growthMax = 24 << 20

/** What the kernel holds for this machine's programs, and this process's descriptors. */
const held = Effect.sync(() => {
  const [counts] = JSON.parse(execFileSync("rdma", ["-j", "resource", "show"]).toString()) as [
    Record<string, number>
  ]
  const { cm_id, cq, mr, pd, qp } = counts
  return { cm_id, cq, mr, pd, qp, descriptors: readdirSync("/proc/self/fd").length }
})

const connectOnce = Effect.fnUntraced(function* (a: End, b: End) {
  const listener = yield* b.device.listen()
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((request) => request.accept({ queuePair: b.queuePair })),
    Effect.forkChild({ startImmediately: true })
  )
  const { queuePair } = a
  yield* a.device.connect({ to: listener.address, queuePair })
  yield* Fiber.join(accepting)
  yield* works(a, b)
})

const comeAndGo = Effect.gen(function* () {
  const [a, b] = [yield* end, yield* end]
  const once = Effect.scoped(
    Effect.gen(function* () {
      const make = Effect.fnUntraced(function* ({ completions, device, domain }: End) {
        const region = yield* domain.register({ memory: 4096, access: ["remote-read"] })
        const queuePair = yield* domain.queuePair({ sendCompletions: completions })
        yield* queuePair.modify({ to: "init" })
        return { completions, device, domain, region, queuePair }
      })
      const writable = { memory: 4096 }
      const withMemory = Effect.fnUntraced(function* (own: End) {
        return { ...(yield* make(own)), region: yield* own.domain.register(writable) }
      })
      yield* connectOnce(yield* withMemory(a), yield* withMemory(b))
    })
  )
  const settle = (own: End) => Effect.sync(() => own.completions.poll(new CompletionBatch(64)))
  const round = once.pipe(Effect.andThen(settle(a)), Effect.andThen(settle(b)))
  for (let count = 0; count < 5; count++) yield* round
  const before = yield* held
  globalThis.gc?.()
  const memory = process.memoryUsage().rss
  for (let count = 0; count < rounds; count++) yield* round
  const isAsBefore = Effect.map(held, (after) => {
    try {
      assert.deepEqual(after, before)
      return true
    } catch {
      return false
    }
  })
  yield* until(`${rounds} connections are gone`, isAsBefore)
  globalThis.gc?.()
  assert.ok(process.memoryUsage().rss - memory < growthMax, "memory grows")
})

const ip = (...args: ReadonlyArray<string>) => Effect.sync(() => void execFileSync("ip", [...args]))

const portEvents = Effect.gen(function* () {
  const device = yield* (yield* Verbs).open()
  const seen: Array<string> = []
  const down = yield* Deferred.make<void>()
  const up = yield* Deferred.make<void>()
  yield* device.events.pipe(
    Stream.runForEach((event) =>
      Effect.gen(function* () {
        seen.push(event._tag)
        if (event._tag === "PortDown") yield* Deferred.succeed(down, undefined)
        if (event._tag === "PortUp") yield* Deferred.succeed(up, undefined)
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* ip("link", "set", "rdma0", "down")
  yield* Deferred.await(down)
  assert.equal((yield* device.port()).state, "down")
  yield* ip("link", "set", "rdma0", "up")
  yield* Deferred.await(up)
  assert.equal((yield* device.port()).state, "active")
  yield* ip("address", "add", "10.9.0.7/24", "dev", "rdma0")
  const hasGid = Effect.map(Effect.orDie(device.port()), ({ gids }) =>
    gids.some(({ gid }) => gid.endsWith("0a090007"))
  )
  yield* until("the new address is a GID", hasGid)
  yield* until(
    "its event",
    Effect.sync(() => seen.includes("GidChanged"))
  )
  yield* ip("address", "del", "10.9.0.7/24", "dev", "rdma0")
})

/** An idle event loop neither polls nor turns. */
const sleeps = Effect.gen(function* () {
  const { a, b } = yield* pair
  for (let count = 0; count < 8; count++) b.queuePair.postReceive(receiving(b))
  const waiting = yield* Effect.forkChild(nextStatus(b), { startImmediately: true })
  const before = process.cpuUsage()
  const start = performance.now()
  yield* Effect.sleep("2 seconds")
  const { system, user } = process.cpuUsage(before)
  const share = (user + system) / 1000 / (performance.now() - start)
  assert.ok(share < 0.5, `${Math.round(share * 100)} % of a processor while nothing happens`)
  a.queuePair.post(sending(a))
  assert.equal(yield* Fiber.join(waiting), "success")
})

/** By choice, completions are looked for at each turn of the event loop. */
const polled = Effect.gen(function* () {
  const { a, b } = yield* pair
  const waiting = yield* Effect.forkChild(nextStatus(b), { startImmediately: true })
  b.queuePair.postReceive(receiving(b))
  a.queuePair.post(sending(a))
  assert.equal(yield* Fiber.join(waiting), "success")
}).pipe(Effect.provide(IbVerbs.layer({ completions: "poll" })))

const tests: ReadonlyArray<Named<Verbs | Scope.Scope>> = [
  { name: "connections that come and go leave nothing", test: comeAndGo },
  { name: "a port that goes down and comes back is told of, and a new address", test: portEvents },
  { name: "the event loop sleeps until there is a completion", test: sleeps },
  { name: "completions are polled by choice", test: polled }
]

await Effect.runPromise(
  Effect.provide(
    report(tests.map(({ name, test }) => ({ name, test: Effect.scoped(test) }))),
    IbVerbs.layer()
  )
)
