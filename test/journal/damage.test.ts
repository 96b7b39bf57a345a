/**
 * Goal: a changed byte of a journal's files never changes what is read in silence, and a torn log
 * is never taken for a damaged one.
 * Method: each byte of a small journal is changed in turn: of a closed file, and of the file, the
 * log and the `-shm` file that a killed process leaves. Everything is then read, and either is what
 * was stored or ends with a typed error. There is no list of bytes that do not matter. Pages of 512
 * bytes keep the files small, so that all can be tried.
 */
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { endianness } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { isDeepStrictEqual } from "node:util"
import { afterAll, assert, describe, it } from "@effect/vitest"
import {
  continueSums,
  frameHeaderBytes,
  logHeaderBytes
} from "../../src/native/sqlite/logHeader.ts"
import { refusalOf } from "../../src/native/sqlite/failures.ts"
import { verifyLog } from "../../src/native/sqlite/verifyLog.ts"
import {
  batchOf,
  type Content,
  contentOf,
  inspect,
  open,
  type OpenJournal,
  transact
} from "../fixtures/journalContent.ts"
import { memoryPlace } from "../fixtures/memoryPlace.ts"

const directory = mkdtempSync(join(memoryPlace, "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

const actors = ["alpha", "beta"]
const tags = ["odd"]
const pageBytes = 512
const frameBytes = frameHeaderBytes + pageBytes

/** Bytes of the file, its log and its `-shm`; undefined where there is no such file. */
type Files = readonly [Buffer, Buffer | undefined, Buffer | undefined]

const capture = (file: string, ends: ReadonlyArray<string>) =>
  ends.map((end) => readFileSync(file + end))

const put = (file: string, files: ReadonlyArray<Buffer | undefined>) => {
  for (const [index, end] of ["", "-wal", "-shm"].entries()) {
    const bytes = files[index]
    if (bytes === undefined) rmSync(file + end, { force: true })
    else writeFileSync(file + end, bytes)
  }
}

/** Appends one event of each actor in each of five transactions, with a tag and snapshots. */
const write = (journal: OpenJournal, from: number, afterEach: () => void = () => {}) => {
  const writers = new Map<string, number>()
  transact(journal, () => {
    for (const actor of actors) writers.set(actor, journal.events.actors.claim(actor).writer)
  })
  for (let last = from; last < from + 5; last++) {
    transact(journal, () => {
      for (const actor of actors) {
        const writer = writers.get(actor) ?? 0
        const body = `"${actor} event ${last + 1}"`
        journal.events.append(last, batchOf(actor, writer, last, [body], last % 2 ? tags : []), [])
        if (last % 4 !== 3) continue
        const snapshot = { seq: last + 1, version: 1, at: 1, body: `"${actor} state"` }
        journal.snapshots.save({ actor, writer, ...snapshot })
      }
    })
    afterEach()
  }
}

interface State {
  readonly files: Files
  readonly content: Content
}

/** A journal that was closed, and one that was left open by a killed process, after each commit. */
const prepare = (): { readonly closed: State; readonly open: ReadonlyArray<State> } => {
  const file = join(directory, "source.db")
  const first = open(file)
  write(first, 0)
  first.file.close()
  const database = new DatabaseSync(file)
  database.exec("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM")
  database.close()
  const second = open(file)
  const states: Array<State> = []
  write(second, 5, () => {
    const [bytes, log, shm] = capture(file, ["", "-wal", "-shm"])
    states.push({ files: [bytes!, log, shm], content: contentOf(second, actors, tags) })
  })
  const content = contentOf(second, actors, tags)
  second.file.close()
  const [bytes] = capture(file, [""])
  return { closed: { files: [bytes!, undefined, undefined], content }, open: states }
}

/** A snapshot that is not found costs a replay of events that are all there, and nothing else. */
const isFaithful = (content: Content, truth: Content) =>
  isDeepStrictEqual(content.histories, truth.histories) &&
  isDeepStrictEqual(content.tagged, truth.tagged) &&
  content.snapshots.every((snapshot, index) => {
    const best = truth.snapshots[index]
    return snapshot === null || snapshot.seq < (best?.seq ?? 0) || isDeepStrictEqual(snapshot, best)
  })

const { closed, open: states } = prepare()
const last = states.at(-1)!
const beforeLast = states.at(-2)!

const isLogRefused = (file: string): boolean => {
  try {
    verifyLog(file)
    return false
  } catch (cause) {
    assert.strictEqual(refusalOf(file, cause).reason, "damaged")
    return true
  }
}

/** A prime, so that all fields of a frame are among the bytes that are also tried by an opening. */
const openedEvery = 97

/**
 * Changes each byte of one of the files; counts what is read as it was, and what is an error. An
 * opening checks the log before all else, so bytes of the log are tried by that check, and by an
 * opening where it accepts them; some that it refuses are opened, too.
 */
const changeEach = (
  files: Files,
  which: number,
  truths: ReadonlyArray<Content>,
  from = 0,
  to = files[which]!.length
) => {
  const file = join(directory, `changed.db`)
  const bytes = files[which]!
  const counts = { same: 0, error: 0 }
  let isOpened = true
  for (let at = from; at < to; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 0x55
    if (isOpened) put(file, files.with(which, changed))
    else writeFileSync(`${file}-wal`, changed)
    const isRefused = which === 1 && isLogRefused(file)
    isOpened = !isRefused || at % openedEvery === 0
    if (!isOpened) {
      counts.error++
      continue
    }
    const result = inspect(file, actors, tags)
    if ("error" in result) {
      counts.error++
      assert.notMatch(result.error, /^unknown/, `byte ${at}`)
      continue
    }
    assert.isFalse(isRefused, `byte ${at} was refused, and is opened`)
    counts.same++
    const isTrue = truths.some((truth) => isFaithful(result.content, truth))
    assert.isTrue(isTrue, `byte ${at}: ${JSON.stringify(result.content)}`)
  }
  return counts
}

describe("any single byte that is changed", () => {
  const patience = 600_000

  const length = closed.files[0].length
  const all = { same: 0, error: 0 }
  for (let from = 0; from < length; from += pageBytes) {
    const page = 1 + from / pageBytes
    it(`J2: in page ${page} of a closed journal gives an error, or what was stored`, () => {
      const counts = changeEach(closed.files, 0, [closed.content], from, from + pageBytes)
      all.same += counts.same
      all.error += counts.error
    })
  }

  it("J2: of a closed journal was changed, and both came of it", () => {
    assert.strictEqual(all.same + all.error, length)
    assert.isAbove(all.error, 1000)
    assert.isAbove(all.same, 1000)
  })

  it(
    "J2: of the log of a killed process gives an error, whatever the byte",
    () => {
      const { error, same } = changeEach(last.files, 1, [last.content])
      assert.isAbove(error, 5000)
      assert.strictEqual(same, 0)
    },
    patience
  )

  it(
    "J2: of the log without its -shm costs at most the last two transactions",
    () => {
      const [bytes, log] = last.files
      const truths = states.slice(-3).map(({ content }) => content)
      assert.isAbove(changeEach([bytes, log, undefined], 1, truths).error, 2500)
    },
    patience
  )

  it("J2: of the -shm file changes nothing", () => {
    // SQLite uses only the first 136 bytes before it makes the rest again.
    const counts = changeEach(last.files, 2, [last.content], 0, 136)
    assert.deepStrictEqual(counts, { same: 136, error: 0 })
  })
})

/** A log as SQLite writes it: a number a frame, its page count if it is a commit, otherwise 0. */
const logOf = (salt: number, pageCounts: ReadonlyArray<number>) => {
  const log = new DataView(new ArrayBuffer(logHeaderBytes + pageCounts.length * frameBytes))
  const put = (at: number, ...words: ReadonlyArray<number>) =>
    words.forEach((word, index) => log.setUint32(at + 4 * index, word))
  put(0, 0x37_7f_06_83, 3_007_000, 512, 0, salt, 7)
  let sums = continueSums([0, 0], log, 0, 24, false)
  put(24, ...sums)
  for (const [index, pageCount] of pageCounts.entries()) {
    const at = logHeaderBytes + index * frameBytes
    put(at, index + 1, pageCount, salt, 7)
    new Uint8Array(log.buffer, at + frameHeaderBytes, 512).fill(salt + index)
    sums = continueSums(sums, log, at, 8, false)
    sums = continueSums(sums, log, at + frameHeaderBytes, 512, false)
    put(at + 16, ...sums)
  }
  return Buffer.from(log.buffer)
}

describe("a log that was begun again over an older one", () => {
  const file = join(directory, "again.db")
  const older = logOf(1, [0, 0, 9, 0, 9])
  /** One commit, and a second transaction of which the sync never returned. */
  const newer = logOf(2, [9, 0, 0, 0, 9])
  const check = (log: Buffer) => {
    writeFileSync(`${file}-wal`, log)
    return () => verifyLog(file)
  }
  const frameAt = (frame: number) => logHeaderBytes + (frame - 1) * frameBytes

  it("J2: is torn where one of the two sectors of a frame's header was lost", () => {
    const log = Buffer.from(newer)
    older.copy(log, frameAt(2), frameAt(2), frameAt(3))
    // The older frame's page count says commit, and the rest is of the transaction that was torn.
    older.copy(log, frameAt(3), frameAt(3), frameAt(3) + 8)
    assert.doesNotThrow(check(log))
  })

  it("J2: is damaged where a whole commit behind a bad frame was continued", () => {
    const log = logOf(2, [9, 0, 9, 0, 9])
    assert.doesNotThrow(check(log))
    log[frameAt(2) + 100]! ^= 1
    assert.throws(check(log), /frame 2/)
  })

  it("J2: is damaged where only the checksum of a commit was changed that was continued", () => {
    const log = logOf(2, [9, 9])
    log[frameAt(1) + 16]! ^= 1
    assert.throws(check(log), /frame 1/)
  })

  it("J2: is damaged where its header is the older one", () => {
    const log = Buffer.from(newer)
    older.copy(log, 0, 0, logHeaderBytes)
    assert.throws(check(log), /an older header than its frames/)
  })
})

describe("a log that was not closed", () => {
  const file = join(directory, "log.db")

  it("J2: names the file and the frame of a changed bit, and leaves both files as they are", () => {
    const log = Buffer.from(last.files[1]!)
    log[logHeaderBytes + 3 * frameBytes + 100]! ^= 4
    const files = last.files.with(1, log)
    put(file, files)
    for (let round = 0; round < 2; round++) {
      const result = inspect(file, actors, tags)
      const error = "error" in result ? result.error : ""
      assert.include(error, `damaged: the write-ahead log ${file}-wal is damaged at frame 4`)
      assert.include(error, "Restore the journal from a backup")
      assert.deepStrictEqual(capture(file, ["", "-wal"]), files.slice(0, 2))
    }
  })

  it("J2: is no damage where a power loss has torn its last transaction", () => {
    const torn = beforeLast.files[1]!
    const whole = last.files[1]!
    assert.isAbove(whole.length, torn.length + 2 * frameBytes)
    // Every subset of lost sectors is tried by the test of power losses; these are its corners.
    for (const shm of [undefined, beforeLast.files[2]]) {
      for (let end = torn.length; end < whole.length; end += 8) {
        for (const hole of [false, true]) {
          const log = Buffer.from(whole.subarray(0, hole ? undefined : end))
          if (hole) log.fill(0, torn.length, end)
          put(file, [last.files[0], log, shm])
          const result = inspect(file, actors, tags)
          if ("error" in result) assert.fail(`${end} ${hole}: ${result.error}`)
          const truth = hole && end === torn.length ? last.content : beforeLast.content
          assert.deepStrictEqual(result.content, truth, `${end} ${hole}`)
        }
      }
    }
  })

  it("J2: is no damage beside the -shm file of an older log, as a power loss may leave it", () => {
    put(file, closed.files)
    const journal = open(file)
    const content = contentOf(journal, actors, tags)
    const [bytes, log] = capture(file, ["", "-wal"])
    journal.file.close()
    assert.isBelow(log!.length, last.files[1]!.length, "the older log had more frames")
    put(file, [bytes, log, last.files[2]])
    const result = inspect(file, actors, tags)
    if ("error" in result) assert.fail(result.error)
    assert.deepStrictEqual(result.content, content)
  })

  it("J2: is damaged where acknowledged transactions are missing at its end", () => {
    const log = last.files[1]!
    for (let end = logHeaderBytes; end < log.length; end += 128) {
      put(file, last.files.with(1, log.subarray(0, end)))
      const result = inspect(file, actors, tags)
      assert.match("error" in result ? result.error : "", /^damaged: the write-ahead log/, `${end}`)
    }
  })

  it("J2: is damaged there too where one of the two counts in the -shm file is", () => {
    const log = last.files[1]!.subarray(0, logHeaderBytes + frameBytes)
    for (const copy of [0, 48]) {
      const shm = Buffer.from(last.files[2]!)
      shm[copy + 16]! ^= 1
      put(file, [last.files[0], log, shm])
      const result = inspect(file, actors, tags)
      assert.match(
        "error" in result ? result.error : "",
        /^damaged: the write-ahead log/,
        `${copy}`
      )
    }
  })

  it("1: is damaged where all of it is missing, or its header", () => {
    const log = last.files[1]!
    for (const rest of [undefined, log.subarray(0, 0), log.subarray(0, 31), Buffer.alloc(32)]) {
      put(file, last.files.with(1, rest))
      const result = inspect(file, actors, tags)
      const error = "error" in result ? result.error : ""
      assert.match(error, /^damaged: the write-ahead log .* is missing or empty/)
    }
  })

  it("1: may be missing after a power loss, which leaves an old -shm, and once copied", () => {
    put(file, closed.files.with(2, last.files[2]))
    utimesSync(`${file}-shm`, 0, 0)
    assert.deepInclude(inspect(file, actors, tags), { content: closed.content })
    const copied = Buffer.from(last.files[2]!)
    const frames = endianness() === "LE" ? copied.readUInt32LE(16) : copied.readUInt32BE(16)
    assert.isAbove(frames, 0)
    copied.copy(copied, 96, 16, 20)
    put(file, closed.files.with(2, copied))
    assert.deepInclude(inspect(file, actors, tags), { content: closed.content })
  })
})
