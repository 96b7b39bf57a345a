/**
 * Goal: memory that was registered, read by a peer and released does not stay with the process,
 * although the connection does.
 * Method: a process of its own registers and releases 1 GiB in regions of 1 MiB; it counts the
 * buffers that are still reachable, and reads its resident size.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const soak = fileURLToPath(new URL("../fixtures/regionSoak.ts", import.meta.url))
const regions = 1_024
/** Regions that may be reachable at the end: of the last turn. */
const lastTurn = 2
/** MiB: a quarter of what was registered; V8 collects earlier than that. */
const growth = 256

describe("released regions", () => {
  for (const workers of [0, 1]) {
    it(`L6: do not stay, with ${workers} workers`, { timeout: 120_000 }, () => {
      const args = ["--expose-gc", soak, String(workers), String(regions), "1"]
      const printed = execFileSync(process.execPath, args, { encoding: "utf8" })
      const { alive, grown } = JSON.parse(printed) as { alive: number; grown: number }
      assert.isAtMost(alive, lastTurn)
      assert.isAtMost(grown, growth)
    })
  }
})
