/**
 * Goal: a handler that names a tag handles one error, whatever module it comes from.
 * Method: every public module is loaded; no two of its error classes share a tag, and the list is
 * not empty by mistake.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { LaneError, PeerClosed, SlowPeer } from "../src/native/io/LaneError.ts"

const root = new URL("../", import.meta.url)

const manifest: { exports: Record<string, string> } = JSON.parse(
  readFileSync(new URL("package.json", root), "utf8")
)

const modules = Object.values(manifest.exports)
  .filter((path) => path.endsWith(".js"))
  .map((path) => path.replace("./dist", "./src").replace(/js$/, "ts"))

interface ErrorClass {
  readonly name: string
  readonly fields: { readonly _tag: { readonly schema: { readonly literal: string } } }
}

const isErrorClass = (value: unknown): value is ErrorClass =>
  typeof value === "function" && value.prototype instanceof Error && "fields" in value

describe("public errors", () => {
  it("have a tag of their own each", { timeout: 120_000 }, async () => {
    const byTag = new Map<string, unknown>()
    const doubles: Array<string> = []
    for (const path of modules) {
      for (const value of Object.values(await import(new URL(path, root).href))) {
        if (!isErrorClass(value)) continue
        const tag = value.fields._tag.schema.literal
        if (byTag.has(tag) && byTag.get(tag) !== value) doubles.push(`${tag} again in ${path}`)
        byTag.set(tag, value)
      }
    }
    assert.deepStrictEqual(doubles, [])
    assert.isAbove(byTag.size, 20)
    assert.isTrue(byTag.get("LaneError") === LaneError)
  })

  it.effect("of lanes are caught by their reason, and others pass", () =>
    Effect.gen(function* () {
      const slow = new LaneError({ peer: "p", reason: new SlowPeer({ bytes: 3, waitedMs: 5 }) })
      const closed = new LaneError({ peer: "p", reason: new PeerClosed({ missing: 0 }) })
      const handled = (error: LaneError) =>
        Effect.fail(error).pipe(
          Effect.catchReason("LaneError", "SlowPeer", ({ bytes }) => Effect.succeed(bytes))
        )
      assert.strictEqual(yield* handled(slow), 3)
      assert.strictEqual(yield* Effect.flip(handled(closed)), closed)
      assert.strictEqual(slow.message, "lane to p: the peer did not take 3 bytes within 5 ms")
    })
  )
})
