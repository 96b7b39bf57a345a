/**
 * Software iWARP between two processes on the loopback interface, against what it is built upon.
 */
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"
import type { Bench, Claim, Contestant } from "./harness.ts"
import * as pingpong from "./iwarp/pingpong.ts"
import * as writes from "./iwarp/writes.ts"

/** Whether a program is installed. */
const has = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

const contestants: Record<string, Contestant> = {
  net: async () => ({ ...(await writes.byNet()), ...(await pingpong.byNet()) }),
  iwarp: () => writes.byIwarp("worker", false),
  "iwarp-crc": () => writes.byIwarp("worker", true),
  "iwarp-main": async () => ({
    ...(await writes.byIwarp("main", false)),
    ...(await pingpong.byIwarp("main", false))
  })
}
if (has("cc")) contestants["c"] = writes.byC
if (has("fi_pingpong")) contestants["libfabric"] = pingpong.byLibfabric

const missing = ["cc", "fi_pingpong"].filter((program) => !has(program))

const claimsOf = (size: string): ReadonlyArray<Claim> => {
  const measure = (contestant: string) => `write-${size}/${contestant}`
  const sure: ReadonlyArray<Claim> = [
    { pair: [measure("iwarp"), measure("net")], bar: ">= 1" },
    { pair: [measure("iwarp-crc"), measure("net")], bar: ">= 0.6" }
  ]
  return has("cc") ? [...sure, { pair: [measure("iwarp"), measure("c")], bar: ">= 0.9" }] : sure
}

const claims: Array<Claim> = Object.keys(writes.sizes).flatMap(claimsOf)

export default {
  title: "iwarp: writes into a peer's memory, and the round trip of a short message",
  notes: [
    "Two processes on one machine. Writes of `iwarp` are placed by a worker of the other process,",
    "`net` and `c` read into one buffer again and again. `iwarp-main` keeps its sockets on the",
    "main thread, which is for short round trips: a worker adds two wake-ups to each. `libfabric`",
    "is `fi_pingpong -p tcp`, whose ends poll and never sleep.",
    ...missing.map((program) => `Not run: \`${program}\` is not installed.`)
  ].join(" "),
  rounds: 5,
  timeout: 60,
  contestants,
  claims: [...claims, { pair: ["pingpong/iwarp-main", "pingpong/net"], bar: "<= 1.5" }]
} satisfies Bench
