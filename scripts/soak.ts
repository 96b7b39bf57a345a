/**
 * A day of churn in a minute or two: `npm run soak`.
 *
 * 10,000 connections, every other one over TLS with mutual authentication, are opened in
 * workers, exchange frames and end in each of the ways a connection can end. Memory and file
 * descriptors must be as flat at the end as after the first thousand. Ends with code 1 if not.
 */
import { readdirSync, readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { IoPool, type LaneOptions, type Listener } from "../src/native/IoPool.ts"
import type { TlsSettings } from "../src/native/lanes/jobs.ts"

const total = 10_000
const warmUp = 2_000
const width = 16

/** What may be more at the end than after the warm-up: noise of the allocators, no slope. */
const slack = { rssMb: 48, heapMb: 8, descriptors: 0 }

const framer = new URL("../bench/lanes/frames.ts", import.meta.url)
const pem = (name: string): string =>
  readFileSync(new URL(`../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8")
const tls = (name: string): TlsSettings => ({
  cert: pem(name),
  key: pem(`${name}-key`),
  ca: pem("ca"),
  servername: "localhost",
  verifyPeer: true
})

const options = (side: "server" | "client", secure: boolean): LaneOptions => ({
  framer,
  on: "worker",
  ...(secure ? { tls: tls(side) } : {})
})

const frame = new Uint8Array(1_024)
new DataView(frame.buffer).setUint32(0, frame.length, true)

/** One life of a connection; `way` is how it ends. */
const life = Effect.fnUntraced(function* (
  pool: IoPool["Service"],
  listener: Listener,
  secure: boolean,
  way: number
) {
  const to = { host: "127.0.0.1", port: listener.port }
  const lane = yield* pool.connect({ ...options("client", secure), to })
  for (let i = 0; i < 4; i++) lane.send(frame)
  let echoed = 0
  while (echoed < 4) echoed += (yield* lane.take).length
  if (way === 0) yield* lane.close
  else if (way === 1) yield* lane.abort
  else if (way === 2) yield* lane.finish
})

/** Answers everything until the peer ends. */
const serve = (listener: Listener) =>
  Effect.gen(function* () {
    const lane = yield* listener.accept
    lane.onFrames((batch) => {
      for (let i = 0; i < batch.count; i++) lane.send(batch.copy(i))
    })
    yield* lane.closed
  }).pipe(Effect.scoped, Effect.forever)

const descriptors = (): number =>
  process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0

const measure = Effect.fnUntraced(function* (pool: IoPool["Service"], done: number) {
  yield* pool.stats.pipe(
    Effect.filterOrFail((stats) => stats.lanes === 0 && stats.jobsOut === 0),
    Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 250 }),
    Effect.orElseSucceed(() => undefined)
  )
  yield* Effect.sleep("200 millis")
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const { jobsOut, lanes } = yield* pool.stats
  const now = { rssMb: rss / 1e6, heapMb: heapUsed / 1e6, descriptors: descriptors() }
  const memory = `rss ${now.rssMb.toFixed(0)} MB, heap ${now.heapMb.toFixed(1)} MB`
  console.log(`${done} connections: ${memory}, ${now.descriptors} descriptors, ${lanes} lanes`)
  return { ...now, left: jobsOut + lanes }
})

const program = Effect.gen(function* () {
  const pool = yield* IoPool
  const at = { host: "127.0.0.1", port: 0 }
  const plain = yield* pool.listen({ ...options("server", false), at })
  const secure = yield* pool.listen({ ...options("server", true), at })
  for (const listener of [plain, secure]) {
    for (let i = 0; i < width; i++) yield* Effect.forkScoped(serve(listener))
  }
  const churn = (count: number) =>
    Effect.forEach(
      Array.from({ length: count }, (_, i) => i),
      (i) =>
        life(pool, i % 2 === 0 ? plain : secure, i % 2 === 1, (i >> 1) % 4).pipe(Effect.scoped),
      { concurrency: width, discard: true }
    )
  yield* churn(warmUp)
  const before = yield* measure(pool, warmUp)
  let after = before
  for (let done = warmUp; done < total; done += 2_000) {
    yield* churn(2_000)
    after = yield* measure(pool, done + 2_000)
  }
  const names = ["rssMb", "heapMb", "descriptors"] as const
  const grown = names.filter((name) => after[name] - before[name] > slack[name])
  return after.left > 0 ? [...grown, "lanes or jobs"] : grown
})

const grown = await Effect.runPromise(
  program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 2, closeWithin: 500 })))
)
console.log(grown.length === 0 ? "flat" : `not flat: ${grown.join(", ")}`)
process.exitCode = grown.length === 0 ? 0 : 1
