/**
 * The bench command.
 *
 * `npm run bench` lists what there is, `npm run bench -- NAME` races and prints a table. With
 * `--json` it prints JSON lines instead and keeps the run in `bench/results/NAME.json`;
 * `npm run bench -- --report` writes `docs/BENCHMARKS.md` from what is kept.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { compete, load, race } from "./harness.ts"
import { jsonLines, markdown, stored, table } from "./report.ts"

const suffix = ".bench.ts"
const directory = new URL("./", import.meta.url)
const results = new URL("results/", directory)

const names = () =>
  readdirSync(directory)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length))
    .toSorted()

const moduleOf = (name: string) => new URL(name + suffix, directory).href

const list = async () => {
  for (const name of names())
    console.log(`${name.padEnd(14)} ${(await load(moduleOf(name))).title}`)
}

const run = async (name: string, json: boolean) => {
  const outcome = await race(moduleOf(name), (round, rounds, contestant) =>
    console.error(`${name} ${round}/${rounds} ${contestant}`)
  )
  if (!json) return console.log(table(outcome))
  console.log(jsonLines(outcome))
  mkdirSync(results, { recursive: true })
  const kept = stored(name, await load(moduleOf(name)), outcome)
  writeFileSync(new URL(`${name}.json`, results), JSON.stringify(kept, null, 2) + "\n")
}

const report = () => {
  mkdirSync(results, { recursive: true })
  const runs = readdirSync(results)
    .toSorted()
    .map((file) => JSON.parse(readFileSync(new URL(file, results), "utf8")))
  writeFileSync(new URL("../docs/BENCHMARKS.md", directory), markdown(runs))
}

const main = async ([first, ...rest]: ReadonlyArray<string>) => {
  if (first === undefined) return list()
  if (first === "--contestant") return compete(rest[0]!, rest[1]!)
  if (first === "--report") return report()
  if (names().includes(first)) return run(first, rest.includes("--json"))
  console.error(`No bench is named ${first}; there are: ${names().join(", ")}`)
  process.exitCode = 2
}

await main(process.argv.slice(2))
