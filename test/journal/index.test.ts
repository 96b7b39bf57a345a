/**
 * Goal: what a journal file says about itself stays true over reopenings, rollbacks and deletions
 * that take several transactions.
 * Method: the parts of an open file are used directly, without a worker, so that each transaction
 * can be ended, undone or cut off at a chosen place.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterAll, assert, describe, it } from "@effect/vitest"
import {
  batchOf,
  contentOf,
  inspect,
  open,
  type OpenJournal,
  transact
} from "../fixtures/journalContent.ts"

const directory = mkdtempSync(join(tmpdir(), "handfast-"))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
const freshFile = () => join(directory, `${files++}.db`)

const claim = (journal: OpenJournal, actor: string) => {
  let writer = 0
  transact(journal, () => (writer = journal.events.actors.claim(actor).writer))
  return writer
}

const append = (
  journal: OpenJournal,
  actor: string,
  writer: number,
  expected: number,
  count: number,
  tags: ReadonlyArray<string> = []
) =>
  transact(journal, () => {
    const bodies = Array.from({ length: count }, (_, index) => `${expected + index + 1}`)
    journal.events.append(1, batchOf(actor, writer, expected, bodies, tags), [])
  })

const tagged = (journal: OpenJournal, tag: string, after = 0) => {
  const read = { tag, after, upTo: Number.MAX_SAFE_INTEGER, limit: 1000 }
  const { events } = journal.events.tagged(read)
  return Array.from(events.filter((_, index) => index % 5 === 0))
}

const prune = (journal: OpenJournal, actor: string, writer: number, eventsTo: number) => {
  let isDone = false
  transact(journal, () => {
    isDone = journal.events.prune({ actor, writer, eventsTo, snapshotsBefore: 0 })
  })
  return isDone
}

describe("offsets of events", () => {
  it("are not used again after the newest events were deleted and the file reopened", () => {
    const file = freshFile()
    const first = open(file)
    append(first, "a", claim(first, "a"), 0, 5, ["t"])
    assert.deepStrictEqual(tagged(first, "t"), [1, 2, 3, 4, 5])
    first.file.close()
    const second = open(file)
    assert.isTrue(prune(second, "a", claim(second, "a"), 5))
    second.file.close()
    const third = open(file)
    append(third, "a", claim(third, "a"), 5, 2, ["t"])
    // A projection that has seen offset 5 goes on behind it.
    assert.deepStrictEqual(tagged(third, "t", 5), [6, 7])
    third.file.close()
  })

  it("are not used again after the newest events were deleted by a killed process", () => {
    const file = freshFile()
    const first = open(file)
    const writer = claim(first, "a")
    append(first, "a", writer, 0, 5, ["t"])
    prune(first, "a", writer, 5)
    // No index is written as it would be by a close in order.
    first.file.close()
    const second = open(file)
    append(second, "a", claim(second, "a"), 5, 1, ["t"])
    assert.deepStrictEqual(tagged(second, "t", 5), [6])
    second.file.close()
  })
})

describe("a deletion", () => {
  it("leaves no entry of a tag to the events that it deletes, and all others", () => {
    const file = freshFile()
    const journal = open(file)
    const a = claim(journal, "a")
    const b = claim(journal, "b")
    append(journal, "a", a, 0, 3, ["t", "t", "u"])
    append(journal, "b", b, 0, 2, ["t"])
    assert.isTrue(prune(journal, "a", a, 2))
    assert.deepStrictEqual(tagged(journal, "t", 2), [3, 4, 5])
    assert.deepStrictEqual(tagged(journal, "u", 2), [3])
    const rows = journal.file.database.prepare("SELECT offset FROM tagged ORDER BY offset").all()
    assert.deepStrictEqual(
      rows.map(({ offset }) => offset),
      [3, 3, 4, 5]
    )
    journal.file.close()
  })
})

describe("the entry of an actor", () => {
  it("is covered by its checksum, field by field", () => {
    for (const column of ["writer", "last", "pruned", "crc"]) {
      const file = freshFile()
      const journal = open(file)
      const writer = claim(journal, "a")
      append(journal, "a", writer, 0, 5)
      prune(journal, "a", writer, 2)
      journal.file.close()
      const database = new DatabaseSync(file)
      database.exec(`UPDATE actors SET ${column} = ${column} + 1`)
      database.close()
      const result = inspect(file, ["a"], [])
      const error = "error" in result ? result.error : JSON.stringify(result.content)
      assert.include(error, "the entry of the actor has a wrong checksum", column)
    }
  })
})

describe("an entry of an actor that the disk did not store", () => {
  it("S8: is noticed, since it is older than the index of the actor's events", () => {
    const file = freshFile()
    const alter = (sql: string) => {
      const database = new DatabaseSync(file)
      database.exec(sql)
      database.close()
    }
    for (const expected of [0, 3]) {
      const journal = open(file)
      append(journal, "a", claim(journal, "a"), expected, 3)
      transact(journal, () => journal.events.settleAll())
      journal.file.close()
      if (expected === 0) alter("CREATE TABLE old AS SELECT * FROM actors")
    }
    alter("DELETE FROM actors; INSERT INTO actors SELECT * FROM old")
    const result = inspect(file, ["a"], [])
    const error = "error" in result ? result.error : JSON.stringify(result.content)
    assert.include(error, "the entry of the actor is older than its index")
  })
})

describe("a transaction that is undone", () => {
  it("takes back the names, the tags, the offsets and the actors that it added", () => {
    const file = freshFile()
    const journal = open(file)
    const writer = claim(journal, "a")
    append(journal, "a", writer, 0, 1, ["t"])
    const before = contentOf(journal, ["a", "b"], ["t", "u"])
    journal.file.begin()
    const other = journal.events.actors.claim("b").writer
    const batch = { ...batchOf("b", other, 0, ["1"], ["t", "u"]), types: ["Undone"] }
    journal.events.append(1, batch, [])
    journal.file.rollback()
    journal.events.undo()
    assert.deepStrictEqual(contentOf(journal, ["a", "b"], ["t", "u"]), before)
    // Another name takes the number that the undone type had.
    transact(journal, () => {
      const later = { ...batchOf("a", writer, 1, ["2"], ["v"]), types: ["Later"] }
      journal.events.append(1, later, [])
    })
    transact(journal, () => {
      const again = { ...batchOf("a", writer, 2, ["3"], ["t", "u"]), types: ["Undone"] }
      journal.events.append(1, again, [])
    })
    assert.deepStrictEqual(tagged(journal, "u"), [3])
    assert.deepStrictEqual(tagged(journal, "v"), [2])
    assert.deepStrictEqual(tagged(journal, "t"), [1, 3])
    const read = { actor: "a", from: 1, upTo: 9, limit: 9 }
    assert.deepStrictEqual(journal.events.read(read).types, ["T", "Later", "Undone"])
    journal.file.close()
    const result = inspect(file, ["a"], ["t", "u", "v"])
    if ("error" in result) assert.fail(result.error)
    assert.strictEqual(result.content.histories[0]?.last, 3)
  })
})
