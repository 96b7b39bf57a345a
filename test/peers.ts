/**
 * Real programs that tests talk to. A test that needs one runs when it is installed, and is
 * otherwise reported as not run, with the command that installs it. With `PEERS=required` a
 * missing one is a failure, so that a run which claims to be complete is.
 */
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"

/** The programs, and the Debian package that brings each. `scripts/peers` installs them all. */
export const packages = {
  tshark: "tshark",
  "redis-server": "redis-server"
} as const

export type Peer = keyof typeof packages

const executable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const isInstalled = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => executable(join(folder, program)))

/** What becomes of tests that need a peer. */
const verdict = (installed: boolean, required: boolean): "run" | "fail" | "not run" => {
  if (installed) return "run"
  return required ? "fail" : "not run"
}

/** A suite that needs a real program, for example `peer("tshark", "our frames", () => ...)`. */
export const peer = (program: Peer, name: string, suite: () => void): void => {
  const result = verdict(isInstalled(program), process.env["PEERS"] === "required")
  const cure = `${program} is missing: apt-get install --yes ${packages[program]}`
  if (result === "fail") {
    describe(name, () => it(program, () => assert.fail(cure)))
    return
  }
  if (result === "not run") console.warn(`not run: ${name} (${cure})`)
  describe.runIf(result === "run")(name, suite)
}
