/**
 * Real programs that tests talk to. A test that needs one runs when it is installed, and is
 * otherwise reported as not run, with the command that installs it. With `PEERS=required` a
 * missing one is a failure, so that a run which claims to be complete is. Servers that are fetched
 * from an archive which could not be reached are the exception: the reason is reported.
 */
import { accessSync, constants, readFileSync } from "node:fs"
import { delimiter, isAbsolute, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { isUnpacked, pathOf, type Unpacked, unpackedFolder } from "./peerPaths.ts"

/**
 * The programs, or files by their paths, and the Debian package that brings each. `scripts/peers`
 * installs them all.
 */
export const packages = {
  "/etc/libibverbs.d/rxe.driver": "ibverbs-providers",
  "/usr/include/infiniband/verbs.h": "libibverbs-dev",
  "/usr/include/rdma/rdma_cma.h": "librdmacm-dev",
  "apt-get": "apt",
  fi_pingpong: "libfabric-bin",
  gcc: "gcc",
  ib_write_bw: "perftest",
  ibv_rc_pingpong: "ibverbs-utils",
  ip: "iproute2",
  make: "make",
  "qemu-system-x86_64": "qemu-system-x86",
  "redis-server": "redis-server",
  script: "bsdutils",
  tshark: "tshark",
  unshare: "util-linux",
  xz: "xz-utils"
} as const

export type Peer = keyof typeof packages | Unpacked

const isThere = (file: string, mode: number): boolean => {
  try {
    accessSync(file, mode)
    return true
  } catch {
    return false
  }
}

const isInstalled = (peer: Peer): boolean => {
  const path = pathOf(peer)
  if (isAbsolute(path)) return isThere(path, constants.R_OK)
  const folders = (process.env["PATH"] ?? "").split(delimiter)
  return folders.some((folder) => isThere(join(folder, path), constants.X_OK))
}

/** Why `scripts/peers` could not unpack the servers; undefined if it did not try, or did it. */
const unreached = (): string | undefined => {
  try {
    return readFileSync(join(unpackedFolder, "unreached"), "utf8").trim()
  } catch {
    return undefined
  }
}

/** The cure of a missing program, and whether its absence is excused. */
const lackOf = (program: Peer): { readonly text: string; readonly isExcused: boolean } => {
  if (!isUnpacked(program)) {
    const text = `${program} is missing: apt-get install --yes ${packages[program]}`
    return { text, isExcused: false }
  }
  const reason = unreached()
  if (reason === undefined) {
    return { text: `${program} is missing: scripts/peers`, isExcused: false }
  }
  return { text: `${program}: ${reason}`, isExcused: true }
}

/** A suite that needs real programs, for example `peer("tshark", "our frames", () => ...)`. */
export const peer = (
  programs: Peer | ReadonlyArray<Peer>,
  name: string,
  suite: () => void
): void => {
  const missing = [programs].flat().filter((program) => !isInstalled(program))
  const lacks = missing.map(lackOf)
  const cure = lacks.map(({ text }) => text).join("; ")
  const isRequired = process.env["PEERS"] === "required"
  if (isRequired && lacks.some(({ isExcused }) => !isExcused)) {
    describe(name, () => it(missing.join(", "), () => assert.fail(cure)))
    return
  }
  if (lacks.length > 0) console.warn(`not run: ${name} (${cure})`)
  describe.runIf(lacks.length === 0)(name, suite)
}
