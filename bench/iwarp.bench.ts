/**
 * Software iWARP between two processes on the loopback interface, against what it is built upon.
 */
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import type { Bench, Contestant } from "./harness.ts"
import type { Claim } from "./statistics.ts"
import * as pingpong from "./iwarp/pingpong.ts"
import * as writes from "./iwarp/writes.ts"

/** A contestant that needs a program, and fails where it is not installed. */
const needs =
  (program: string, run: Contestant): Contestant =>
  () => {
    const folders = (process.env["PATH"] ?? "").split(delimiter)
    if (folders.some((folder) => existsSync(join(folder, program)))) return run()
    throw new Error(`${program} is not installed`)
  }

/** `iwarp` copies each byte once more than `net`, so long writes may take longer. */
const bars = { "4k": ">= 1", "64k": ">= 0.9", "1m": ">= 0.9" } as const

const claims = Object.entries(bars).flatMap(([size, bar]): ReadonlyArray<Claim> => {
  const measure = (contestant: string) => `write-${size}/${contestant}`
  return [
    { pair: [measure("iwarp"), measure("net")], bar },
    { pair: [measure("iwarp-crc"), measure("net")], bar: ">= 0.6" },
    { pair: [measure("iwarp"), measure("c")], bar: ">= 0.9" }
  ]
})

export default {
  title: "iwarp: writes into a peer's memory, and the round trip of a short message",
  notes: [
    "Two processes on one machine. Writes of `iwarp` are placed by a worker of the other process,",
    "`net` and `c` read into 4 MiB, as many as `iwarp` places into. `iwarp-main` keeps its",
    "sockets on the main thread, for short round trips: a worker adds two wake-ups. `libfabric`",
    "is `fi_pingpong -p tcp`, whose ends poll and never sleep."
  ].join(" "),
  timeout: 60,
  contestants: {
    net: async () => ({ ...(await writes.byNet()), ...(await pingpong.byNet()) }),
    iwarp: () => writes.byIwarp("worker", false),
    "iwarp-crc": () => writes.byIwarp("worker", true),
    "iwarp-main": async () => ({
      ...(await writes.byIwarp("main", false)),
      ...(await pingpong.byIwarp("main", false))
    }),
    c: needs("cc", writes.byC),
    libfabric: needs("fi_pingpong", pingpong.byLibfabric)
  },
  claims: [...claims, { pair: ["pingpong/iwarp-main", "pingpong/net"], bar: "<= 1.6" }]
} satisfies Bench
