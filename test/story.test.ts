/**
 * Goal: what `handfast start` prints is read well on any terminal, and what killed demos leave is
 * removed; its audit sees all that was accepted. Method: texts at many widths; directories of
 * processes that live and do not; journals from which events were deleted and not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Transfers from "../src/actors/transfer/Transfers.ts"
import * as Actor from "../src/actors/kernel/Actor.ts"
import { Journal } from "../src/actors/kernel/Journal.ts"
import { layerKeeping } from "../src/cli/demo/keeping.ts"
import { makeDirectory, removeDirectory } from "../src/cli/demo/leftovers.ts"
import { screenOn, wrap } from "../src/cli/demo/screen.ts"
import * as Telling from "../src/cli/demo/telling.ts"
import type { DemoResult } from "../src/cli/demo/result.ts"
import * as Verdict from "../src/cli/demo/verdict.ts"
import type { Epoch } from "../src/schema/Epoch.ts"

const text = "  Two processes copy each other's memory, and one of them is killed."

/** A terminal of so many columns, or none, and all that is written to it. */
const terminal = (columns: number | undefined) => {
  const written: Array<string> = []
  const stream = {
    isTTY: columns !== undefined,
    columns,
    write: (piece: string) => written.push(piece)
  } as unknown as NodeJS.WriteStream
  return { stream, written }
}

describe("a line", () => {
  it("is broken at spaces to fit, and goes on indented as it is", () => {
    for (let columns = 24; columns <= 100; columns++) {
      const lines = wrap(text, columns)
      assert.isTrue(lines.every((line) => line.length <= columns && /^ {2}\S/.test(line)))
      assert.strictEqual(lines.map((line) => line.trim()).join(" "), text.trim())
    }
    assert.deepStrictEqual(wrap("", 24), [""])
    assert.deepStrictEqual(wrap("x".repeat(30), 24), ["x".repeat(30)])
  })
})

describe("a screen", () => {
  it("draws a bar over itself on a terminal, which is never wider than that", () => {
    for (const columns of [24, 30, 40, 80, 200]) {
      const { stream, written } = terminal(columns)
      const show = screenOn(stream, false)
      show.progress(0.5, "12 MB copied")
      show.progress(2, "1234567890 MB copied")
      for (const piece of written) {
        assert.isTrue(piece.startsWith("\r\u001B[K"))
        assert.isBelow(piece.length - 4, columns)
      }
    }
  })

  it("shows lines alone where there is no terminal, and nothing if it is quiet", () => {
    const { stream, written } = terminal(undefined)
    const show = screenOn(stream, false)
    show.progress(0.5, "12 MB copied")
    show.line("both copy")
    screenOn(stream, true).line("unseen")
    assert.deepStrictEqual(written, ["both copy\n"])
  })
})

describe("the directory of a story", () => {
  it("is removed by the next story if its orchestrator was killed, and kept while he lives", () => {
    const before = process.env["TMPDIR"]
    const temporary = mkdtempSync(join(tmpdir(), "handfast-story-"))
    process.env["TMPDIR"] = temporary
    try {
      const { pid } = spawnSync(process.execPath, ["-e", "0"])
      const dead = join(temporary, `handfast-start-${pid}-abcdef`)
      const other = join(temporary, `handfast-other-${pid}-abcdef`)
      for (const path of [dead, other]) mkdirSync(path)
      const [first, second] = [makeDirectory(), makeDirectory()]
      assert.deepStrictEqual([dead, other, first, second].map(existsSync), [
        false,
        true,
        true,
        true
      ])
      removeDirectory(first)
      assert.isFalse(existsSync(first))
    } finally {
      if (before === undefined) delete process.env["TMPDIR"]
      else process.env["TMPDIR"] = before
      rmSync(temporary, { recursive: true })
    }
  })
})

describe("the audit", () => {
  const file = Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-audit-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  ).pipe(Effect.map((path) => join(path, "journal")))

  /** Has transfers accepted that end at once, one after the other. */
  const accept = (count: number) =>
    Effect.gen(function* () {
      const moved = Effect.succeed({ moved: 1, bytes: 1 })
      const transfers = yield* Actor.spawn(
        Transfers.make(() => moved),
        "transfers"
      )
      for (let index = 0; index < count; index++) {
        yield* transfers.ask.Submit({ id: String(index), peer: "p", ops: [], until: 1 })
      }
    }).pipe(Effect.scoped)

  it.live(
    "T11: sees all that was accepted, or says how much it does not see",
    () =>
      Effect.gen(function* () {
        const [kept, pruned] = [yield* file, yield* file]
        yield* Effect.provide(accept(300), layerKeeping(kept))
        const all = { accepted: 300, ended: 300, failed: 0, twice: 0, unseen: 0 }
        assert.deepInclude(yield* Verdict.read(kept, "nobody"), all)
        yield* Effect.provide(accept(300), Journal.layerSqlite({ file: pruned }))
        const { accepted, unseen } = yield* Verdict.read(pruned, "nobody")
        assert.isAbove(unseen, 0)
        assert.isBelow(accepted, 300)
        const told = { accepted, ended: accepted, failed: 0, twice: 0, wrong: 0, early: 0, unseen }
        const [broken] = Telling.broken(told as DemoResult)
        assert.strictEqual(broken, `${unseen} events of the journals were deleted unseen`)
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("a connection in two journals", () => {
  const generation = {
    epoch: "0000000a.1" as Epoch,
    peer: "0000000b.1" as Epoch,
    upAt: 10,
    readyAt: 20,
    isLost: false,
    isCut: false
  }
  const other = { ...generation, epoch: "0000000b.1" as Epoch, peer: "0000000a.1" as Epoch }

  it("is early if one side could send before the other side was up, or never was", () => {
    assert.deepStrictEqual(Verdict.earlyOf([generation], [other]), [])
    const early = [generation]
    assert.deepStrictEqual(Verdict.earlyOf(early, [{ ...other, upAt: 21 }]), early)
    assert.deepStrictEqual(Verdict.earlyOf(early, [{ ...other, upAt: undefined }]), early)
  })

  it("T17: is not early if the other process was killed before it had stored that it is up", () => {
    const cut = { ...other, upAt: undefined, isCut: true }
    assert.deepStrictEqual(Verdict.earlyOf([generation], [cut]), [])
  })
})
