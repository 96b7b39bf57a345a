/**
 * Mutation testing: changes a source file in every small way that Stryker knows, one at a time,
 * and runs the tests that execute the changed line.
 *
 * `npm run mutate -- PATH [TEST...]`, for example `npm run mutate -- src/testing/FaultPlan.ts`.
 * Without tests named, those nearest to the file by imports are used: the tests that import it, or
 * else those that import what imports it, and so on. Prints each survivor with its line, and the
 * score. Changed texts are left out: most are messages, which tests should not repeat.
 *
 * Ends with code 1 below a score of 85 %.
 */
import { globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Stryker } from "@stryker-mutator/core"
import { type Graph, graphOf } from "../test/tidy/imports.ts"

/** In percent; what is left at this score has been, as a rule, equivalent to the original. */
const leastScore = 85

const root = fileURLToPath(new URL("../", import.meta.url))

const isTest = (path: string): boolean => path.endsWith(".test.ts") && !path.startsWith("test/vm/")

/** The tests from which the fewest imports lead to a file. */
const nearestTests = (graph: Graph, path: string): ReadonlyArray<string> => {
  const seen = new Set([path])
  let layer = new Set([path])
  while (layer.size > 0) {
    const tests = [...layer].filter(isTest)
    if (tests.length > 0) return tests.toSorted()
    const importers = [...graph]
      .filter(([file, imports]) => !seen.has(file) && imports.some((one) => layer.has(one.target)))
      .map(([file]) => file)
    layer = new Set(importers)
    for (const file of importers) seen.add(file)
  }
  return []
}

/** Stryker puts mutants around a loop but below its label, which no longer names a loop then. */
const refuseLabels = (path: string): void => {
  const lines = readFileSync(root + path, "utf8").split("\n")
  const labelled = lines.findIndex((line) => /^\s*\w+: (?:for|while|do)\b/.test(line))
  if (labelled < 0) return
  throw new Error(`${path}:${labelled + 1}: Stryker cannot change a loop that has a label`)
}

const mutate = async (path: string, named: ReadonlyArray<string>): Promise<void> => {
  refuseLabels(path)
  const sources = globSync("{src,test}/**/*.ts", { cwd: root }).map((path) => ({
    path,
    text: readFileSync(root + path, "utf8")
  }))
  const tests = named.length > 0 ? named : nearestTests(graphOf(sources), path)
  if (tests.length === 0) throw new Error(`no test imports ${path}`)
  console.log(`tests: ${tests.join(", ")}`)
  process.env["MUTATE_TESTS"] = tests.join(",")
  const results = await new Stryker({
    mutate: [path],
    testRunner: "vitest",
    // A mutant that takes effect while a module loads is run without a choice of tests, so the
    // configuration makes the choice. Related tests would be nearly all of them.
    vitest: { configFile: "vitest.mutate.config.ts", related: false },
    mutator: { excludedMutations: ["StringLiteral"] },
    // TypeScript 7 has no JavaScript API with which Stryker could rewrite a tsconfig, and Node
    // needs none.
    tsconfigFile: "none",
    // The nearest tests may be whole simulations.
    dryRunTimeoutMinutes: 30,
    // The tests themselves take the cores they need.
    concurrency: 1,
    reporters: ["clear-text"],
    clearTextReporter: { allowEmojis: false, logTests: false, reportTests: false },
    allowConsoleColors: false,
    thresholds: { high: leastScore, low: leastScore, break: leastScore },
    cleanTempDir: "always"
  }).runMutationTest()
  if (results.length === 0) throw new Error(`${path} has nothing that can be changed`)
}

const [path, ...tests] = process.argv.slice(2)
if (path === undefined) {
  console.error("usage: npm run mutate -- PATH [TEST...]")
  process.exitCode = 2
} else {
  process.chdir(root)
  await mutate(path, tests)
}
