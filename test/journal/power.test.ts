/**
 * Goal: what a journal has acknowledged survives a power loss at any moment, and no state of the
 * disk after one keeps the journal from opening.
 * Method: a library that is preloaded into a real writer records its writes, syncs, creations and
 * deletions, and what it acknowledged. After each call, states that the disk may then be in are
 * built: nothing of what is not synced, all of it, and random choices sector by sector and name by
 * name (POWER_STATES of them, drawn from POWER_SEED). Each is opened and read.
 */
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { compile, note, offence, openFiles, record } from "../fixtures/diskRun.ts"
import { open } from "../fixtures/journalContent.ts"
import { type Call, type Chance, Disk } from "../fixtures/powerLoss.ts"
import { memoryPlace } from "../fixtures/memoryPlace.ts"
import { peer } from "../peers.ts"

const statesPerCall = Number(process.env["POWER_STATES"] ?? 4)
const seed = Number(process.env["POWER_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

const directory = mkdtempSync(join(memoryPlace, "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

/** A repeatable source of numbers below 1. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

/** Nothing, everything, or a random choice: of mostly old, mostly new or any states. */
const chances = (next: () => number): ReadonlyArray<Chance> => [
  () => 0,
  (options) => options - 1,
  ...Array.from({ length: statesPerCall }, (): Chance => {
    const bias = next()
    return (options) => {
      if (next() < 0.5) return Math.floor(next() * options)
      return next() < bias ? options - 1 : 0
    }
  })
]

interface Run {
  readonly folder: string
  readonly characters: number
  /** What was in the folder before. */
  readonly before: ReadonlyMap<string, Buffer>
  readonly calls: ReadonlyArray<Call>
  readonly isTried: (call: Call, index: number) => boolean
}

/** Plays a run, and opens the states of the disk after each call. Returns how many there were. */
const lose = ({ before, calls, characters, folder, isTried }: Run) => {
  const disk = new Disk(folder, before)
  const next = random(seed)
  const stored = new Map<string, number>()
  const seen = new Set<string>()
  for (const [index, call] of calls.entries()) {
    disk.play(call)
    if (call.kind === "M") note(stored, call)
    if (!isTried(call, index)) continue
    for (const chance of chances(next)) {
      const files = disk.lose(chance)
      const hash = createHash("sha1").update(JSON.stringify([...stored]))
      for (const [name, content] of files) hash.update(name).update(content)
      const digest = hash.digest("hex")
      if (seen.has(digest)) continue
      seen.add(digest)
      const result = openFiles(files, `${folder}.state`)
      const wrong = "error" in result ? result.error : offence(result.content, stored, characters)
      const left = [...files].map(([name, content]) => `${name}: ${content.length}`)
      const where = `call ${index} (${call.kind} ${call.path}), ${left}, POWER_SEED=${seed}`
      if (wrong !== undefined) assert.fail(`${wrong}; ${where}`)
    }
  }
  return seen.size
}

/** A new journal of a few events. */
const recordNew = (): Run => {
  const folder = join(directory, "new")
  mkdirSync(folder)
  const calls = record({ folder, rounds: 4, characters: 20 })
  return { folder, calls, characters: 20, before: new Map(), isTried: ({ kind }) => kind !== "H" }
}

/** A journal of small pages, so that its log is full, copied and begun again after a megabyte. */
const recordCheckpoints = (): Run => {
  const folder = join(directory, "checkpoints")
  mkdirSync(folder)
  const file = join(folder, "j.db")
  open(file).file.close()
  const database = new DatabaseSync(file)
  database.exec("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM")
  database.close()
  const names = readdirSync(folder).map((name) => join(folder, name))
  const before = new Map(names.map((name) => [name, readFileSync(name)] as const))
  const calls = record({ folder, rounds: 30, characters: 20_000 })
  const isTried = ({ kind, path }: Call, index: number) => {
    if (kind === "W") return index % (path.endsWith("-wal") ? 128 : 48) === 0
    return kind !== "H" && kind !== "M"
  }
  return { folder, calls, characters: 20_000, before, isTried }
}

/** The header of a log that is begun, or begun again. */
const isHead = ({ at, kind, path }: Call) => kind === "W" && at === 0 && path.endsWith("-wal")

peer("gcc", `a power loss (POWER_SEED=${seed})`, () => {
  let small: Run
  let large: Run
  const patience = 600_000
  beforeAll(() => {
    compile(directory)
    small = recordNew()
    large = recordCheckpoints()
  }, patience)

  it(
    "J7: costs nothing that was acknowledged, from the creation of the file on",
    () => {
      assert.strictEqual(small.calls.filter(({ kind }) => kind === "M").length, 16)
      assert.isAbove(lose(small), 300)
    },
    patience
  )

  it(
    "J7: costs nothing that was acknowledged, through checkpoints and new logs",
    () => {
      assert.isAbove(large.calls.filter(isHead).length, 2, "the log was begun again")
      assert.isAbove(lose(large), 300)
    },
    patience
  )

  for (const [name, run, end] of [
    ["its log", () => small, "-wal"],
    ["its folder", () => small, "/new"],
    ["its file", () => large, ".db"]
  ] as const) {
    it(
      `J7: would cost events if the journal did not sync ${name}`,
      () => {
        const calls = run().calls.filter(({ kind, path }) => kind !== "S" || !path.endsWith(end))
        assert.isBelow(calls.length, run().calls.length)
        assert.throws(() => lose({ ...run(), calls }), /POWER_SEED/)
      },
      patience
    )
  }
})
