/**
 * Goal: no run hides that a test did not run.
 * Method: a suite that needs a peer is run by Vitest in a child process whose PATH has that peer
 * or not, with and without `PEERS=required`.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { unpacked } from "./peerPaths.ts"
import { packages } from "./peers.ts"

const root = fileURLToPath(new URL("../", import.meta.url))

/** Ends a run that hangs: each takes two seconds of processor time. */
const hangMs = 120_000

/** Runs a fixture with a PATH of one folder that holds the given programs. */
const run = (
  programs: ReadonlyArray<string>,
  required: boolean,
  { fixture = "peers", unreached = "" } = {}
) => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-peers-"))
  const unpacked = join(folder, "handfast", "servers")
  mkdirSync(unpacked, { recursive: true })
  if (unreached !== "") writeFileSync(join(unpacked, "unreached"), unreached)
  for (const program of programs) {
    for (const place of [folder, unpacked]) {
      writeFileSync(join(place, program), "")
      chmodSync(join(place, program), 0o755)
    }
  }
  const report = join(folder, "report.json")
  const config = `--config=test/fixtures/${fixture}.config.ts`
  const vitest = ["node_modules/vitest/vitest.mjs", "run", config]
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`]
  const { stderr } = spawnSync(process.execPath, [...vitest, ...reporters], {
    cwd: root,
    encoding: "utf8",
    env: { PATH: folder, XDG_CACHE_HOME: folder, ...(required ? { PEERS: "required" } : {}) },
    timeout: hangMs
  })
  const result = JSON.parse(readFileSync(report, "utf8"))
  rmSync(folder, { recursive: true })
  const counts = [result.numPassedTests, result.numFailedTests, result.numPendingTests]
  return { counts, stderr, text: JSON.stringify(result) }
}

describe("a suite that needs a peer", { timeout: 2 * hangMs }, () => {
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
    const both = [
      "tshark is missing: apt-get install --yes tshark",
      "redis-server is missing: apt-get install --yes redis-server"
    ].join("; ")
    assert.include(text, both)
  })

  it("fails when an unpacked server is missing and no reason is known, with the cure", () => {
    const { counts, text } = run([], true, { fixture: "unpacked" })
    assert.deepStrictEqual(counts, [0, 1, 0])
    assert.include(text, "valkey-server-8 is missing: scripts/peers")
    assert.deepStrictEqual(
      run(["valkey-server-8"], true, { fixture: "unpacked" }).counts,
      [1, 0, 0]
    )
  })

  it("is reported as not run when an unpacked server could not be had, with the reason", () => {
    for (const required of [false, true]) {
      const unreached = "Could not resolve the archive"
      const { counts, stderr } = run([], required, { fixture: "unpacked", unreached })
      assert.deepStrictEqual(counts, [0, 0, 1])
      assert.include(stderr, `not run: needs an unpacked server (valkey-server-8: ${unreached})`)
    }
  })

  it("can be cured by scripts/peers, which installs every package", () => {
    const script = readFileSync(join(root, "scripts/peers"), "utf8")
    const installed = /^packages=\(([^)]*)\)$/m.exec(script)?.[1]?.trim().split(/\s+/)
    assert.deepStrictEqual(installed, Object.values(packages).toSorted())
    const servers = readFileSync(join(root, "scripts/servers"), "utf8")
    for (const name of unpacked) assert.include(servers, `wrap ${name} `)
  })
})
