/**
 * Goal: a call that waits at a machine which loses its power ends when the machine is back, and
 * holds no other call to it until its deadline of a minute (T16).
 * Method: a program in a network namespace of its own, and a machine in another one that vanishes
 * with all its connections. The time is that of a real kernel, so the bar is far from both ends.
 */
import { execFile, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, it } from "@effect/vitest"
import { peer } from "../../peers.ts"

const namespaces = spawnSync("unshare", ["--map-root-user", "--net", "true"]).status === 0
if (!namespaces) console.warn("not run: a machine (no network namespace may be made here)")

peer(["ip", "unshare"], "a machine", () => {
  it.runIf(namespaces)(
    "T16: that loses its power under a call ends it once it is back",
    async () => {
      const module = fileURLToPath(new URL("../../fixtures/deadMachine.ts", import.meta.url))
      const command = ["--map-root-user", "--net", process.execPath, module]
      const { stdout } = await promisify(execFile)("unshare", command)
      const { ended, seconds } = JSON.parse(stdout)
      assert.include(ended, "(answer)")
      assert.isBelow(seconds, 30)
    },
    90_000
  )
})
