/**
 * Goal: what ends does not stay with the process: connections, workers that park or crash, and
 * memory that was registered, read by a peer and released.
 * Method: `npm run soak` in a short form. It counts descriptors, threads, lanes and jobs, and reads
 * the sizes of the process, after each round.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const cwd = fileURLToPath(new URL("..", import.meta.url))

const soak = (...options: ReadonlyArray<string>): void => {
  const args = ["run", "--silent", "soak", "--", ...options]
  const { status, stderr, stdout } = spawnSync("npm", args, { cwd, encoding: "utf8" })
  assert.strictEqual(status, 0, stdout + stderr)
}

describe("a process that has been busy", { timeout: 240_000 }, () => {
  it("holds no more after connections, resizes and crashes", () => {
    soak("--connections", "250", "--regions", "0")
  })

  it("L6: holds no more after regions that a peer has read", () => {
    soak("--connections", "0", "--regions", "1024")
  })
})
