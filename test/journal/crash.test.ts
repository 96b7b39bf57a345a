/**
 * Goal: whatever a journal has acknowledged survives `kill -9`, once and whole, and the file opens
 * every time.
 * Method: a real process writes at full speed and reports what was acknowledged; it is killed at
 * a random moment, also while it opens the file, and the next one goes on with the same file. Two
 * files, fifty kills each. In the end every report is held against what the file has.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Journal } from "../../src/actors/kernel/Journal.ts"

const killsPerFile = 50
const writer = fileURLToPath(new URL("../fixtures/journalWriter.ts", import.meta.url))
const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

/** Reports of all runs on one file: which run stored an actor's event, and the last of each. */
interface Reports {
  readonly runOf: Map<string, number>
  readonly last: Map<string, number>
  kills: number
  opened: number
}

/** A repeatable source of numbers below 1. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

const note = (reports: Reports, run: number, line: string): boolean => {
  const [word, actor = "", text] = line.split(" ")
  const last = Number(text)
  const before = reports.last.get(actor) ?? 0
  assert.isAtLeast(last, before, `run ${run}: ${line}, ${before} was acknowledged`)
  reports.last.set(actor, last)
  if (word === "stored") reports.runOf.set(`${actor} ${last}`, run)
  return word === "stored"
}

/** Lets one process write until it has reported so much, or for so long, and kills it. */
const runAndKill = (reports: Reports, file: string, run: number, next: () => number) =>
  new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, [writer, file, String(run)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_COMPILE_CACHE: join(directory, "cache") }
    })
    const kill = () => child.kill("SIGKILL")
    // One in four is killed at a moment of its start, the others after some acknowledgements.
    const goal = next() < 0.25 ? Infinity : 1 + Math.floor(next() ** 2 * 1200)
    if (goal === Infinity) setTimeout(kill, next() * 300)
    let text = ""
    let errors = ""
    let stored = 0
    let isOpen = false
    child.stderr.on("data", (chunk) => (errors += chunk))
    child.stdout.on("data", (chunk) => {
      const lines = `${text}${chunk}`.split("\n")
      text = lines.pop() ?? ""
      try {
        for (const line of lines) if (note(reports, run, line)) stored++
      } catch (cause) {
        kill()
        reject(cause)
      }
      isOpen ||= lines.length > 0
      if (stored >= goal) kill()
    })
    child.on("close", (code, signal) => {
      if (signal !== "SIGKILL") return reject(new Error(`run ${run} ended with ${code}: ${errors}`))
      reports.kills++
      if (isOpen) reports.opened++
      resolve()
    })
  })

/** Holds the reports against the file. */
const verify = Effect.fnUntraced(function* (reports: Reports, file: string) {
  const journal = yield* Journal
  let acknowledged = 0
  for (const [actor, last] of reports.last) {
    const claim = yield* journal.claim(actor)
    assert.isAtLeast(claim.last, last, `${actor} in ${file}`)
    const events = yield* Stream.runCollect(journal.read(actor))
    const first = events[0]?.seq ?? claim.last + 1
    const isPruning = Number(actor.slice(5)) % 2 === 1
    assert.isAtMost(first, isPruning ? Math.max(1, claim.last - 99) : 1, actor)
    assert.strictEqual(events.length, claim.last - first + 1, actor)
    let open = -1
    for (const [index, event] of events.entries()) {
      const { count, part, run, seq } = JSON.parse(event.body)
      assert.strictEqual(event.seq, first + index, actor)
      assert.strictEqual(seq, event.seq, `${actor}: an event in another's place`)
      // Parts of one append are all there, only the first ones may have been deleted.
      if (index > 0) assert.strictEqual(part, open > 0 ? count - open : 0, `${actor} ${seq}`)
      open = count - part - 1
      const reported = reports.runOf.get(`${actor} ${seq}`)
      if (reported !== undefined) {
        acknowledged++
        assert.strictEqual(Number(run), reported, `${actor} ${seq} was stored by another run`)
      }
    }
    assert.strictEqual(open <= 0, true, `${actor}: the last append is torn`)
    const snapshot = yield* journal.loadSnapshot(actor)
    if (Option.isSome(snapshot)) assert.isAtMost(snapshot.value.seq, claim.last)
  }
  return acknowledged
})

describe.concurrent("a journal whose process is killed", () => {
  for (const lane of ["a", "b"]) {
    const seed = Number(process.env["CRASH_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
    it.live(
      `keeps what it acknowledged, file ${lane} (CRASH_SEED=${seed})`,
      () =>
        Effect.gen(function* () {
          const file = join(directory, `${lane}.db`)
          const next = random(seed)
          const reports: Reports = { runOf: new Map(), last: new Map(), kills: 0, opened: 0 }
          for (let run = 1; run <= killsPerFile; run++) {
            yield* Effect.promise(() => runAndKill(reports, file, run, next))
          }
          const acknowledged = yield* verify(reports, file).pipe(
            Effect.provide(Journal.layerSqlite({ file }))
          )
          assert.strictEqual(reports.kills, killsPerFile)
          assert.isAbove(reports.opened, killsPerFile / 2)
          assert.isAbove(acknowledged, 1000)
        }),
      300_000
    )
  }
})
