/** Where real programs are that tests and benches start. `scripts/peers` brings all of them. */
import { homedir } from "node:os"
import { join } from "node:path"

/** Servers of a later Debian than this machine may have: they are unpacked in a cache. */
export const unpacked = ["redis-server-8", "valkey-server-8"] as const

export type Unpacked = (typeof unpacked)[number]

const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache")

/** The folder of unpacked servers. */
export const unpackedFolder = join(cache, "handfast", "servers")

export const isUnpacked = (program: string): program is Unpacked =>
  unpacked.some((name) => name === program)

/** How a program is started: by its name, or by its place if it is unpacked. */
export const pathOf = (program: string): string =>
  isUnpacked(program) ? join(unpackedFolder, program) : program
