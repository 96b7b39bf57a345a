/**
 * A day of churn in some minutes: `npm run soak`.
 *
 * Connections, every other one over TLS with mutual authentication, are opened in workers,
 * exchange frames and end in each of the ways a connection can end; in each round the pool is
 * resized and its workers are crashed meanwhile. Then a process of its own registers regions, lets
 * a peer read them and releases them. What is held must be as much at the end as after the first
 * round. Ends with code 1 if not. `--connections N` and `--regions N` make it shorter, 0
 * leaves a part out.
 *
 * glibc keeps freed blocks of a size once it has seen some, so a process grows with each worker
 * that comes and goes although nothing holds its memory. `npm run soak` turns that off.
 */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { IoPool, type LaneOptions, type Listener } from "../src/native/io/IoPool.ts"
import type { TlsSettings } from "../src/native/io/IoPool.ts"

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "10000" },
    regions: { type: "string", default: "2400" }
  }
})
const connections = Number(values.connections)
const regions = Number(values.regions)

/** Connections at once. */
const width = 16
/** One in so many connections is made while the pool is disturbed. */
const roughShare = 5
/** The pool's workers while nobody disturbs it. */
const workers = 2
/** Milliseconds for one connection: far more than any takes on a busy machine. */
const lifeWithin = 30_000

/** What may be more at the end than after the first round: noise of the allocators, no slope. */
const slack = {
  rssMb: 96,
  heapMb: 8,
  sharedMb: 1,
  descriptors: 0,
  threads: 0,
  lanes: 0,
  jobs: 0
}

type Held = Readonly<Record<keyof typeof slack, number>>

const framer = new URL("../test/native/io/fixtures/labFramer.ts", import.meta.url)
const pem = (name: string): string =>
  readFileSync(new URL(`../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8")
const tls = (name: string): TlsSettings => ({
  cert: pem(name),
  key: pem(`${name}-key`),
  ca: pem("ca"),
  servername: "localhost",
  verify: "name"
})

const options = (side: "server" | "client", secure: boolean): LaneOptions => ({
  framer,
  on: "worker",
  ...(secure ? { tls: tls(side) } : {})
})

/** A frame of the framer's protocol: its length, its kind, and zeros. */
const frameOf = (kind: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  new DataView(bytes.buffer).setUint32(0, length)
  bytes[4] = kind
  return bytes
}
const plain = frameOf(0, 1_024)
const crash = frameOf(4, 5)

/** One life of a connection; `way` is how it ends. */
const life = Effect.fnUntraced(function* (
  pool: IoPool["Service"],
  listener: Listener,
  secure: boolean,
  way: number
) {
  const to = { host: "127.0.0.1", port: listener.port }
  const lane = yield* pool.connect({ ...options("client", secure), to })
  for (let i = 0; i < 4; i++) lane.send(plain)
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

/** Crashes the worker that takes a connection, if one does. */
const crashOne = Effect.fnUntraced(function* (pool: IoPool["Service"], listener: Listener) {
  const to = { host: "127.0.0.1", port: listener.port }
  const lane = yield* pool.connect({ framer, on: "main", to })
  lane.send(crash)
  yield* lane.closed
}, Effect.scoped)

/** What happens to the pool in a round, each while connections are made. */
const disturbances = (pool: IoPool["Service"], listener: Listener) => {
  const crashing = Effect.ignore(crashOne(pool, listener))
  // Workers that park before their listeners are there.
  const hasty = Effect.forEach([workers, 0, workers], (count) => pool.resize(count))
  return [pool.resize(1), crashing, pool.resize(0), hasty, crashing]
}

const entriesOf = (folder: string): number =>
  process.platform === "linux" ? readdirSync(folder).length : 0

const heldBy = Effect.fnUntraced(function* (pool: IoPool["Service"]) {
  globalThis.gc?.()
  const { arrayBuffers, heapUsed, rss } = process.memoryUsage()
  const { jobsOut: jobs, lanes } = yield* pool.stats
  const [descriptors, threads] = [entriesOf("/proc/self/fd"), entriesOf("/proc/self/task")]
  const memory = { rssMb: rss / 1e6, heapMb: heapUsed / 1e6, sharedMb: arrayBuffers / 1e6 }
  return { ...memory, descriptors, threads, lanes, jobs }
})

/** What has grown beyond its slack. */
const grownSince = (before: Held, now: Held): ReadonlyArray<string> =>
  (Object.keys(slack) as ReadonlyArray<keyof Held>).filter(
    (name) => now[name] - before[name] > slack[name]
  )

/** What is held once it is no more than before, or after some seconds. */
const measure = Effect.fnUntraced(function* (
  pool: IoPool["Service"],
  done: number,
  before: Held | undefined
) {
  const isCalm = (held: Held): boolean => {
    const atRest = held.lanes === 0 && held.jobs === 0
    return atRest && (before === undefined || grownSince(before, held).length === 0)
  }
  // Threads and sockets that have just ended need a moment to be gone.
  yield* Effect.sleep("500 millis")
  const held = yield* heldBy(pool).pipe(
    Effect.repeat({ until: isCalm, schedule: Schedule.spaced("200 millis"), times: 50 }),
    Effect.andThen(heldBy(pool))
  )
  const { descriptors, heapMb, jobs, lanes, rssMb, sharedMb, threads } = held
  const [rss, heap, shared] = [rssMb, heapMb, sharedMb].map((mb) => mb.toFixed(1))
  const memory = `rss ${rss} MB, heap ${heap} MB, shared ${shared} MB`
  const counts = `${descriptors} descriptors, ${threads} threads, ${lanes} lanes, ${jobs} jobs`
  console.log(`${done} connections: ${memory}, ${counts}`)
  return held
})

/** Rounds after which what is held is measured; the first one warms up. */
const rounds = 5

/** Opens and ends so many connections; answers how many of them broke. */
const churn = (count: number, one: (index: number) => Effect.Effect<"whole" | "broken", Error>) =>
  Effect.forEach(
    Array.from({ length: count }, (_, i) => i),
    one,
    { concurrency: width }
  ).pipe(Effect.map((ends) => ends.filter((end) => end === "broken").length))

/** Churns through all connections; names what has grown meanwhile. */
const soakConnections = Effect.gen(function* () {
  const pool = yield* IoPool
  // In all workers: a port that one thread holds would stay with the main thread.
  const shared = { at: { host: "127.0.0.1", port: 0 }, reusePort: true }
  const open = yield* pool.listen({ ...options("server", false), ...shared })
  const secure = yield* pool.listen({ ...options("server", true), ...shared })
  for (const listener of [open, secure]) {
    for (let i = 0; i < width; i++) yield* Effect.forkScoped(serve(listener))
  }
  const one = (i: number) =>
    life(pool, i % 2 === 0 ? open : secure, i % 2 === 1, (i >> 1) % 4).pipe(
      Effect.scoped,
      Effect.match({ onSuccess: () => "whole" as const, onFailure: () => "broken" as const }),
      Effect.timeout(lifeWithin)
    )
  const share = Math.ceil(connections / rounds)
  const rough = Math.ceil(share / roughShare)
  let before: Held | undefined
  let broken = 0
  for (let round = 1; round <= rounds; round++) {
    broken += yield* churn(share - rough, one)
    const steps = disturbances(pool, open)
    const each = Math.ceil(rough / steps.length)
    for (const disturbance of steps) {
      yield* Effect.all([churn(each, one), disturbance], { concurrency: 2, discard: true })
    }
    const held = yield* measure(pool, round * share, before)
    before ??= held
    if (round < rounds) continue
    const { workersCrashed } = yield* pool.stats
    const wrong: Record<string, boolean> = {
      "broken connections": broken > 0,
      "no crash": workersCrashed < rounds
    }
    return [...grownSince(before, held), ...Object.keys(wrong).filter((name) => wrong[name])]
  }
  return []
}).pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers, closeWithinMs: 500 })))

/** Regions of the last turn that may be reachable at the end, and MiB that may be added. */
const regionSlack = { alive: 2, grown: 256 }

/** Registers and releases regions of 1 MiB in processes of their own; names what has grown. */
const soakRegions = (): ReadonlyArray<string> =>
  ["0", "1"].flatMap((workers) => {
    const program = fileURLToPath(new URL("../test/fixtures/regionSoak.ts", import.meta.url))
    const args = ["--expose-gc", program, workers, String(regions), "1"]
    const printed = execFileSync(process.execPath, args, { encoding: "utf8" })
    const held = JSON.parse(printed) as typeof regionSlack
    console.log(`${regions} regions, ${workers} workers: ${printed.trim()}`)
    const names = ["alive", "grown"] as const
    return names.filter((name) => held[name] > regionSlack[name]).map((name) => `regions ${name}`)
  })

const grown = [
  ...(connections > 0 ? await Effect.runPromise(soakConnections) : []),
  ...(regions > 0 ? soakRegions() : [])
]
console.log(grown.length === 0 ? "flat" : `not flat: ${grown.join(", ")}`)
process.exitCode = grown.length === 0 ? 0 : 1
