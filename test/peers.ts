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
  "apt-get": "apt",
  fi_pingpong: "libfabric-bin",
  gcc: "gcc",
  ip: "iproute2",
  make: "make",
  "qemu-system-x86_64": "qemu-system-x86",
  "redis-server": "redis-server",
  tshark: "tshark",
  unshare: "util-linux",
  xz: "xz-utils"
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

/** A suite that needs real programs, for example `peer("tshark", "our frames", () => ...)`. */
export const peer = (
  programs: Peer | ReadonlyArray<Peer>,
  name: string,
  suite: () => void
): void => {
  const missing = [programs].flat().filter((program) => !isInstalled(program))
  const result = verdict(missing.length === 0, process.env["PEERS"] === "required")
  const cure = `${missing.join(", ")} is missing: apt-get install --yes ${missing
    .map((program) => packages[program])
    .join(" ")}`
  if (result === "fail") {
    describe(name, () => it(missing.join(", "), () => assert.fail(cure)))
    return
  }
  if (result === "not run") console.warn(`not run: ${name} (${cure})`)
  describe.runIf(result === "run")(name, suite)
}
