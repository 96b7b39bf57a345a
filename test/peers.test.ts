/**
 * Goal: no run hides that a test did not run.
 * Method: a suite that needs a peer is run by Vitest in a child process whose PATH has that peer
 * or not, with and without `PEERS=required`.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { packages } from "./peers.ts"

const root = fileURLToPath(new URL("../", import.meta.url))

/** Runs the fixture with a PATH of one folder that holds the given programs. */
const run = (programs: ReadonlyArray<string>, required: boolean) => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-peers-"))
  for (const program of programs) {
    writeFileSync(join(folder, program), "")
    chmodSync(join(folder, program), 0o755)
  }
  const report = join(folder, "report.json")
  const config = "--config=test/fixtures/peers.config.ts"
  const vitest = ["node_modules/vitest/vitest.mjs", "run", config]
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`]
  const { stderr } = spawnSync(process.execPath, [...vitest, ...reporters], {
    cwd: root,
    encoding: "utf8",
    env: { PATH: folder, ...(required ? { PEERS: "required" } : {}) },
    timeout: 15_000
  })
  const result = JSON.parse(readFileSync(report, "utf8"))
  rmSync(folder, { recursive: true })
  const counts = [result.numPassedTests, result.numFailedTests, result.numPendingTests]
  return { counts, stderr, text: JSON.stringify(result) }
}

describe("a suite that needs a peer", () => {
  it("runs when the peer is installed", () => {
    for (const required of [false, true]) {
      assert.deepStrictEqual(run(["tshark", "redis-server"], required).counts, [2, 0, 0])
    }
  })

  it("is reported as not run, with the cure, when it is missing", () => {
    const { counts, stderr } = run(["redis-server"], false)
    assert.deepStrictEqual(counts, [0, 0, 2])
    assert.include(
      stderr,
      "not run: needs a peer (tshark is missing: apt-get install --yes tshark)"
    )
  })

  it("fails when it is missing and peers are required", () => {
    const { counts, text } = run([], true)
    assert.deepStrictEqual(counts, [0, 2, 0])
    assert.include(text, "tshark is missing: apt-get install --yes tshark")
    const both = "tshark, redis-server is missing: apt-get install --yes tshark redis-server"
    assert.include(text, both)
  })

  it("can be cured by scripts/peers, which installs every package", () => {
    const script = readFileSync(join(root, "scripts/peers"), "utf8")
    const installed = /^packages=\(([^)]*)\)$/m.exec(script)?.[1]?.trim().split(/\s+/)
    assert.deepStrictEqual(installed, Object.values(packages).toSorted())
  })
})
