/**
 * Goal: nothing that a transaction did is left in memory after it was rolled back, and nothing that
 * was committed is lost with the process.
 * Method: the parts of an open file are used directly, without a worker. A rolled back append is
 * followed by others, which take the numbers and offsets that it had taken.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { failureOf } from "../../src/native/sqlite/failures.ts"
import type { AppendBatch, Failure } from "../../src/native/sqlite/protocol.ts"
import { batchOf, inspect, open, type OpenJournal, transact } from "../fixtures/journalContent.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const claim = ({ events }: OpenJournal, actor: string) => events.actors.claim(actor).writer

/** Appends, and returns what was refused. */
const append = (journal: OpenJournal, batch: AppendBatch) => {
  const refused: Array<[number, number, Failure]> = []
  transact(journal, () => journal.events.append(1, batch, refused))
  return refused.map(([, , { kind }]) => kind)
}

/** Appends, and takes it back. */
const appendUndone = ({ events, file }: OpenJournal, batch: AppendBatch) => {
  file.begin()
  events.append(1, batch, [])
  file.rollback()
  events.undo()
}

const read = ({ events }: OpenJournal, actor: string) => {
  const { bodies, types } = events.read({ actor, from: 1, upTo: 1000, limit: 1000 })
  return { bodies, types }
}

describe("an append that is rolled back", () => {
  it("leaves no offset among those of its actor", () => {
    const journal = open(freshFile())
    const [a, b] = [claim(journal, "a"), claim(journal, "b")]
    append(journal, batchOf("a", a, 0, ["a1"]))
    appendUndone(journal, batchOf("a", a, 1, ["undone"]))
    // Takes the offset of the undone event.
    append(journal, batchOf("b", b, 0, ["b1"]))
    append(journal, batchOf("a", a, 1, ["a2"]))
    assert.deepStrictEqual(read(journal, "a").bodies, ["a1", "a2"])
    journal.file.close()
  })

  it("leaves no number of a type that was new", () => {
    const file = freshFile()
    const journal = open(file)
    const batch = { ...batchOf("a", claim(journal, "a"), 0, ["1"]), types: ["New"] }
    appendUndone(journal, batch)
    append(journal, batch)
    journal.file.close()
    const again = open(file)
    assert.deepStrictEqual(read(again, "a"), { bodies: ["1"], types: ["New"] })
    again.file.close()
  })

  it("leaves nothing in the sums of its tags", () => {
    const journal = open(freshFile())
    const batch = batchOf("a", claim(journal, "a"), 0, ["1"], ["t"])
    appendUndone(journal, batch)
    append(journal, batch)
    const tagged = journal.events.tagged({ tag: "t", after: 0, upTo: 1000, limit: 1000 })
    assert.deepStrictEqual(tagged.bodies, ["1"])
    journal.file.close()
  })

  it("leaves no row that was still to be inserted", () => {
    const journal = open(freshFile())
    const a = claim(journal, "a")
    const batch = batchOf("a", a, 0, ["refused", "behind it"])
    // A time that the table refuses stands for a disk that is full in the middle of an append.
    const refused = { ...batch, events: Float64Array.of(0, 1, Number.NaN, 0, 1, 1) }
    assert.throws(() => appendUndone(journal, refused))
    journal.file.rollback()
    journal.events.undo()
    append(journal, batchOf("a", a, 0, ["1"]))
    assert.deepStrictEqual(read(journal, "a").bodies, ["1"])
    journal.file.close()
  })
})

describe("the index of events", () => {
  it("is not taken for complete while it lacks the newest events of an actor", () => {
    const file = freshFile()
    // Four events may be missing from it, so the last append writes the index of b alone.
    const journal = open(file, 4)
    const [a, b] = [claim(journal, "a"), claim(journal, "b")]
    append(journal, batchOf("b", b, 0, ["b1"]))
    append(journal, batchOf("a", a, 0, ["a1", "a2", "a3"]))
    append(journal, batchOf("a", a, 3, ["a4"]))
    // As a kill: the rest of the index is not written.
    journal.file.close()
    const result = inspect(file, ["a", "b"], [])
    if ("error" in result) assert.fail(result.error)
    assert.deepStrictEqual(
      result.content.histories.map(({ last, rows }) => [last, rows.length]),
      [
        [4, 4],
        [1, 1]
      ]
    )
  })

  it("keeps the oldest events first after a rollback", () => {
    const file = freshFile()
    const journal = open(file, 4)
    // Known in another order than that of their first events.
    const [x, a, b] = [claim(journal, "x"), claim(journal, "a"), claim(journal, "b")]
    append(journal, batchOf("x", x, 0, ["x1"]))
    append(journal, batchOf("b", b, 0, ["b1"]))
    append(journal, batchOf("a", a, 0, ["a1"]))
    appendUndone(journal, batchOf("a", a, 1, ["undone"]))
    // Writes the index of x alone, and says from where on the others' events are to be found again.
    append(journal, batchOf("x", x, 1, ["x2", "x3"]))
    journal.file.close()
    const result = inspect(file, ["x", "a", "b"], [])
    if ("error" in result) assert.fail(result.error)
    assert.deepStrictEqual(
      result.content.histories.map(({ rows }) => rows.length),
      [3, 1, 1]
    )
  })
})

describe("a claim", () => {
  it("of an earlier opening is fenced, although the file still names its writer", () => {
    const file = freshFile()
    const first = open(file)
    const writer = claim(first, "a")
    append(first, batchOf("a", writer, 0, ["1"]))
    transact(first, () => first.events.settleAll())
    first.file.close()
    const second = open(file)
    assert.strictEqual(second.events.actors.lookup("a")?.writer, writer)
    assert.deepStrictEqual(append(second, batchOf("a", writer, 1, ["2"])), ["fenced"])
    assert.deepStrictEqual(read(second, "a").bodies, ["1"])
    second.file.close()
  })
})

describe("a commit", () => {
  it("is refused when the log was removed since the transaction began", () => {
    const file = freshFile()
    const journal = open(file)
    const writer = claim(journal, "a")
    append(journal, batchOf("a", writer, 0, ["1"]))
    journal.file.begin()
    journal.events.append(1, batchOf("a", writer, 1, ["2"]), [])
    journal.events.settle()
    rmSync(`${file}-wal`)
    let failure: Failure | undefined
    try {
      journal.file.commit()
    } catch (cause) {
      failure = failureOf(cause)
    }
    assert.deepInclude(failure, { kind: "storage", reason: "replaced" })
    journal.file.close()
  })
})
