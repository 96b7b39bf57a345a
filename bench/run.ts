/**
 * The bench command.
 *
 * `npm run bench` lists the benches, `npm run bench -- NAME` races and prints a table. With
 * `--json` it prints JSON lines instead and keeps the run in `bench/results/NAME.json`; with
 * `--rounds N` it only runs so many rounds and keeps nothing, to see that a bench works.
 * `npm run bench -- --report` writes `docs/BENCHMARKS.md` from the runs that are kept. Ends with
 * code 1 if a contestant failed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { compete, load, race } from "./harness.ts"
import { jsonLines, keep, markdown, runOf, type Stored, table } from "./report.ts"

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

const fileOf = (name: string) => new URL(`${name}.json`, results)

const storedOf = (name: string): Stored =>
  existsSync(fileOf(name)) ? JSON.parse(readFileSync(fileOf(name), "utf8")) : []

const run = async (name: string, json: boolean, rounds: number | undefined) => {
  const { claims = [] } = await load(moduleOf(name))
  const outcome = await race(moduleOf(name), {
    watch: (round, contestant) => console.error(`${name} ${round} ${contestant}`),
    ...(rounds === undefined ? {} : { looks: [rounds] })
  })
  if (outcome.failures.length > 0) process.exitCode = 1
  if (!json) return console.log(table(claims, outcome))
  console.log(jsonLines(claims, outcome))
  if (rounds !== undefined) return
  mkdirSync(results, { recursive: true })
  const stored = keep(storedOf(name), runOf(outcome))
  writeFileSync(fileOf(name), JSON.stringify(stored, null, 2) + "\n")
}

const report = async () => {
  const benches = await Promise.all(
    names().map(async (name) => {
      return { name, bench: await load(moduleOf(name)), stored: storedOf(name) }
    })
  )
  const text = markdown(benches.filter(({ stored }) => stored.length > 0))
  writeFileSync(new URL("../docs/BENCHMARKS.md", directory), text)
}

const refuse = (reason: string) => {
  console.error(reason)
  process.exitCode = 2
}

const main = async () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      contestant: { type: "boolean" },
      json: { type: "boolean", default: false },
      report: { type: "boolean" },
      rounds: { type: "string" }
    }
  })
  const [first, second] = positionals
  if (values.contestant) return compete(first!, second!)
  if (values.report) return report()
  if (first === undefined) return list()
  if (!names().includes(first)) {
    return refuse(`No bench is named ${first}; there are: ${names().join(", ")}`)
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
    return refuse(`--rounds wants a number of rounds, not ${values.rounds}`)
  }
  return run(first, values.json, rounds)
}

await main()
