/**
 * Goal: the table of `handfast bus join` reads well as a person sees it: it stays within a narrow
 * or low terminal, is drawn over itself there, and prints only what is new elsewhere.
 * Method: the painter over streams of each kind, and a terminal of a few rows that follows it.
 */
import { assert, describe, it } from "@effect/vitest"
import { fit, painter, rowsOf, type Shown } from "../../../src/cli/busTable.ts"
import { idOf } from "./network.ts"

const member = (name: string, state: "connected" | "suspected" = "connected") => ({
  id: idOf(name),
  ip: "127.0.0.1",
  busPort: 17_000,
  clientPort: 7_000,
  role: "primary" as const,
  primary: undefined,
  shard: undefined,
  hostname: undefined,
  state
})

const link = (name: string, direction: "to" | "from", rttMs?: number) => ({
  direction,
  node: idOf(name),
  address: "127.0.0.1:17000",
  ageMs: 1,
  rttMs
})

const shown = (...members: ReadonlyArray<ReturnType<typeof member>>): Shown => ({
  members,
  slots: [
    { id: idOf("a"), slots: [0, 99] },
    { id: idOf("a"), slots: [200, 200] }
  ],
  links: [link("a", "from"), link("a", "to", 0.25), link("b", "from")]
})

/** What a terminal of so many columns shows after a text: rows that scroll off are lost. */
const terminal = (columns: number, rows: number) => {
  const screen: Array<string> = [""]
  let at = 0
  return {
    write: (text: string) => {
      for (const [part] of text.replaceAll("\u001b[", "␛").matchAll(/␛\d*[AJ]|\n|[^\n␛]+/g)) {
        const up = /^␛(\d*)A$/.exec(part)?.[1]
        if (up !== undefined) at = Math.max(Math.max(0, screen.length - rows), at - Number(up))
        else if (part === "␛J") screen.length = at + 1
        else if (part === "\n") at++
        else {
          assert.isBelow(part.length, columns, "a line would wrap")
          screen[at] = part
        }
        screen[at] ??= ""
        if (part === "␛J") screen[at] = ""
      }
    },
    text: () => screen.filter((line) => line !== "")
  }
}

describe("a line of the table", () => {
  it("shows a node's address, role, state, links and slots", () => {
    const [a, b] = rowsOf(shown(member("a"), member("b", "suspected")), true)
    assert.match(
      a!,
      /^[0-9a-f]{12} +127\.0\.0\.1:17000 +primary +connected +to\+from 0\.3 ms +0-99 200$/
    )
    assert.match(b!, /primary +suspected +from$/)
  })
})

describe("the table", () => {
  it("is drawn over itself on a terminal, and fits it", () => {
    const [columns, rows] = [40, 5]
    const screen = terminal(columns, rows)
    const paint = painter({ isTTY: true, columns, rows })
    const names = ["a", "b", "c", "d", "e", "f", "g"]
    for (const count of [1, 7, 2, 7, 3]) {
      const members = names.slice(0, count).map((name) => member(name))
      screen.write(paint(shown(...members)))
      const text = screen.text()
      assert.strictEqual(text.length, Math.min(count, rows - 1))
      assert.include(text[0], idOf("a").slice(0, 12))
      if (count >= rows) assert.strictEqual(text.at(-1), `and ${count - 3} nodes more`)
    }
  })

  it("follows a terminal whose size changes, and one that does not say it", () => {
    const stream = { isTTY: true, columns: 100, rows: 10 }
    const paint = painter(stream)
    const widest = () =>
      Math.max(
        ...paint(shown(member("a")))
          .split("\n")
          .map(({ length }) => length)
      )
    assert.isAbove(widest(), 60)
    stream.columns = 30
    assert.isAtMost(widest(), 30 + "\u001b[1A\u001b[J".length)
    assert.include(painter({ isTTY: true })(shown(member("a"))), "connected")
  })

  it("without a terminal prints only lines that are new, without control characters", () => {
    const paint = painter({})
    const first = paint(shown(member("a"), member("b")))
    assert.strictEqual(first.split("\n").length, 3)
    assert.notInclude(first, "\u001b")
    assert.strictEqual(paint(shown(member("a"), member("b"))), "")
    const changed = paint(shown(member("a"), member("b", "suspected")))
    assert.match(changed, /^[0-9a-f]{12}.*suspected.*\n$/)
    assert.strictEqual(changed.split("\n").length, 2)
  })

  it("of one row still says how many there are", () => {
    assert.deepStrictEqual(fit(["a", "b"], { columns: 80, rows: 1 }), ["and 2 nodes more"])
  })
})
