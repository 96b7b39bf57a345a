/**
 * Goal: a worker that has ended leaves no memory behind, shared or private.
 * Method: workers end one after the other in a process of its own, which then collects and counts
 * what is held outside of V8's heap. Its resident size would count what the allocator keeps, too.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const rounds = 10
/** A pool that is still reachable holds 0.26 MB, and a worker 19 MB. */
const growthMax = 1_048_576

describe("workers that have ended", { timeout: 120_000 }, () => {
  const ways = { close: "with their pool", park: "in a pool that goes on" }
  for (const [way, where] of Object.entries(ways)) {
    it(`L6: leave no memory behind, ${where}`, () => {
      const program = fileURLToPath(new URL("./fixtures/workerRounds.ts", import.meta.url))
      const args = ["--expose-gc", program, way, String(rounds), String(growthMax)]
      const printed = execFileSync(process.execPath, args, { encoding: "utf8" })
      const { arrayBuffers, external } = JSON.parse(printed)
      assert.isAtMost(arrayBuffers, growthMax)
      assert.isAtMost(external, growthMax)
    })
  }
})
