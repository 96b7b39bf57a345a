/**
 * Goal: what a program awaits outside of Effect takes no virtual time, and repeats.
 * Method: promises, ticks, streams and the thread pool under a timeout or without any timer, each
 * explored with every seed compared; their twins that never end.
 */
import { pbkdf2 } from "node:crypto"
import { Readable } from "node:stream"
import { gzip } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Sim, SimError } from "../../src/testing/index.ts"

const chain = async (length: number) => {
  for (let i = 0; i < length; i++) await Promise.resolve()
}

const readAll = async (source: AsyncIterable<unknown>) => {
  for await (const _ of source);
}

/** The bytes, zipped and unzipped again by streams of the platform. */
const rezipped = async (bytes: Uint8Array<ArrayBuffer>) => {
  const zipped = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))
  return new Response(zipped.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()
}

const tenMegabytes = new Uint8Array(10 * 1024 * 1024)

const callback = (use: (done: () => void) => void) =>
  Effect.callback<void>((resume) => use(() => resume(Effect.void)))

const promise = (use: () => Promise<unknown>) => Effect.promise(async () => void (await use()))

const programs: ReadonlyArray<readonly [name: string, seeds: number, use: Effect.Effect<void>]> = [
  ["20 awaits", 20, promise(() => chain(20))],
  ["20,000 awaits", 1, promise(() => chain(20_000))],
  ["a readable stream", 20, promise(() => readAll(Readable.from(["a", "b", "c", "d", "e"])))],
  ["nextTick", 20, callback((done) => process.nextTick(() => process.nextTick(done)))],
  ["a digest", 20, promise(() => crypto.subtle.digest("SHA-256", new Uint8Array(64)))],
  ["a digest of 10 MB", 1, promise(() => crypto.subtle.digest("SHA-256", tenMegabytes))],
  ["pbkdf2", 5, callback((done) => pbkdf2("a", "b", 10_000, 32, "sha256", done))],
  ["gzip", 5, callback((done) => gzip(new Uint8Array(1_000_000), done))],
  ["streams of the platform", 2, promise(() => rezipped(new Uint8Array(1_000_000)))]
]

const messageOf = (report: Sim.Report) =>
  report.failure && String(Cause.squash(report.failure.cause))

describe("what a program awaits outside of Effect", () => {
  for (const [name, seeds, use] of programs) {
    it.live(`A2, A3: takes no virtual time: ${name}`, () =>
      Effect.gen(function* () {
        const timed = Effect.gen(function* () {
          yield* Effect.timeout(use, "1 second")
          assert.strictEqual(yield* Clock.currentTimeMillis, 0)
        })
        for (const program of [timed, use]) {
          const report = yield* Sim.explore(program, { seeds, checkShare: 1 })
          assert.isUndefined(messageOf(report))
        }
      })
    )
  }

  it.live("A3: repeats, in whatever order the thread pool is done", () =>
    Effect.gen(function* () {
      const sizes = [3_000_000, 1, 1_000_000, 100]
      const digests = Effect.forEach(
        sizes,
        (size) =>
          Effect.andThen(
            Effect.promise(() => crypto.subtle.digest("SHA-256", new Uint8Array(size))),
            Effect.log(`digest of ${size}`)
          ),
        { concurrency: "unbounded" }
      )
      const report = yield* Sim.explore(digests, { seeds: 10, checkShare: 1 })
      assert.isUndefined(messageOf(report))
    })
  )

  it.live("A3: is a deadlock if it never ends: the twin", () =>
    Effect.gen(function* () {
      const never = Effect.promise(() => new Promise<void>(() => undefined))
      const report = yield* Sim.explore(never, { seeds: 1, shrinkAttempts: 0 })
      assert.instanceOf(Cause.squash(report.failure!.cause), SimError.Deadlock)
    })
  )
})

/** Counts the turns that the event loop takes while an effect runs. */
const turnsDuring = <A>(effect: Effect.Effect<A>) =>
  Effect.gen(function* () {
    let [isOver, turns] = [false, 0]
    const again = (): void => {
      turns++
      if (!isOver) setImmediate(again)
    }
    again()
    const result = yield* effect
    isOver = true
    return { result, turns }
  })

describe("what a program does with Effect alone", () => {
  it.live("takes no turn of the event loop, however many fibers it forks", () =>
    Effect.gen(function* () {
      const fork = Effect.andThen(Effect.sleep("1 second"), Effect.forkChild(Effect.void))
      const explored = Sim.explore(Effect.repeat(fork, { times: 200 }), { seeds: 1, checkShare: 0 })
      const { result, turns } = yield* turnsDuring(explored)
      assert.isUndefined(messageOf(result))
      assert.isAtLeast(result.millis, 200_000)
      assert.isBelow(turns, 100)
    })
  )

  it.live("takes them for each promise: the twin", () =>
    Effect.gen(function* () {
      const wait = Effect.andThen(
        Effect.sleep("1 second"),
        promise(() => chain(1))
      )
      const explored = Sim.explore(Effect.repeat(wait, { times: 200 }), { seeds: 1, checkShare: 0 })
      const { turns } = yield* turnsDuring(explored)
      assert.isAbove(turns, 100)
    })
  )
})
