/**
 * Goal: under a Node that is too old, the command line says so in one line, whatever else that Node
 * could not load. Method: a preloaded module states another version of Node and refuses to load
 * Effect, as an old Node refuses what it does not know; the twin states the oldest supported one.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { neededNode } from "../src/cli/version.ts"

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url))

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
  const preloaded = `data:text/javascript,${encodeURIComponent(preload)}`
  return spawnSync(process.execPath, ["--import", preloaded, main, "start"], { encoding: "utf8" })
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
