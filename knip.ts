import { globSync, readFileSync } from "node:fs"
import type { KnipConfig } from "knip"
import { graphOf, workersOf } from "./test/tidy/imports.ts"

const sources = globSync("src/**/*.ts").map((path) => ({ path, text: readFileSync(path, "utf8") }))

export default {
  entry: [
    "src/index.ts",
    "src/**/[A-Z]*.ts",
    "src/testing/{index,vitest}.ts",
    ...workersOf(graphOf(sources)),
    "bench/*.bench.ts",
    "examples/*.ts",
    "scripts/{entered,recovery}.ts",
    "test/fixtures/*.ts",
    "test/types/*.tst.ts",
    // Run inside of a virtual machine.
    "test/vm/ib/*.ts",
    "vitest.mutate.config.ts"
  ],
  ignoreExportsUsedInFile: { interface: true, type: true },
  // Real peers and tools of tests, see test/peers.ts, and what benches run if it is there.
  ignoreBinaries: [
    "cc",
    "gcc",
    "fi_pingpong",
    "ip",
    "mkfifo",
    "nsenter",
    "rdma",
    "script",
    "text2pcap",
    "tshark",
    "unshare"
  ],
  ignoreDependencies: [
    // The name under which TypeScript 7 finds the diagnostics of @effect/tsgo.
    "@effect/language-service",
    // Loaded by Stryker, which is told its name.
    "@stryker-mutator/vitest-runner"
  ]
} satisfies KnipConfig
