/**
 * Goal: under a Node that is too old, the command line says so in one line, whatever else that Node
 * could not load; and a command that is over ends its process, with all that it has printed.
 * Method: a preloaded module states another version of Node and refuses to load Effect, as an old
 * Node refuses what it does not know; the twin states the oldest supported one. Another one keeps
 * the event loop busy for ever, and the output is longer than a pipe holds.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { neededNode } from "../src/cli/version.ts"

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url))

const preloaded = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`

/** Runs the command line under a Node that says it is of that version, and loads no Effect. */
const underNode = (version: string) => {
  const preload = `
    import { registerHooks } from "node:module"
    Object.defineProperty(process.versions, "node", { value: ${JSON.stringify(version)} })
    registerHooks({
      resolve: (specifier, context, next) => {
        if (/^(@?effect|node:sqlite)/.test(specifier)) throw new Error("not loaded: " + specifier)
        return next(specifier, context)
      }
    })`
  const args = ["--import", preloaded(preload), main, "start"]
  return spawnSync(process.execPath, args, { encoding: "utf8" })
}

describe("the command line under an old Node", () => {
  it("ends with one line that names the version that is needed", () => {
    for (const version of ["18.20.8", "20.19.0", "24.15.9"]) {
      const { status, stderr, stdout } = underNode(version)
      assert.strictEqual(stderr, `Node ${neededNode} or newer is needed, this is ${version}.\n`)
      assert.deepStrictEqual([status, stdout], [1, ""])
    }
  })

  it("goes on to its commands under the oldest one that is supported, and newer ones", () => {
    for (const version of [`${neededNode}.0`, "25.0.0"]) {
      const { stderr } = underNode(version)
      assert.include(stderr, "not loaded: ")
    }
  })
})

describe("a command that is over", () => {
  const frames = 10_000
  const busy = preloaded("const turn = () => setImmediate(turn); turn(); setInterval(turn, 1e6)")
  /** Decodes frames that the protocol does not know, and an odd line at the end if there is one. */
  const decode = (odd: string) =>
    spawnSync(process.execPath, ["--import", busy, main, "decode", "bus"], {
      encoding: "utf8",
      input: `${"00\n".repeat(frames)}${odd}`,
      maxBuffer: 1 << 26,
      timeout: 60_000
    })
  const linesOf = (text: string) => text.split("\n").length - 1

  it("ends its process, whatever is left in the event loop, and all of its output is there", () => {
    const { signal, status, stdout } = decode("")
    assert.deepStrictEqual([signal, status], [null, 0])
    assert.strictEqual(linesOf(stdout), frames)
    assert.isAbove(stdout.length, 1 << 18)
  }, 120_000)

  it("does so too if it fails", () => {
    const { signal, status, stderr, stdout } = decode("odd")
    assert.deepStrictEqual([signal, status], [null, 2])
    assert.strictEqual(linesOf(stdout), frames)
    assert.include(stderr, "is not hex")
  }, 120_000)
})
