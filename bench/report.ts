/** Renders results: JSON lines for machines, a table for people, and `docs/BENCHMARKS.md`. */
import { cpus, loadavg, release, totalmem, type } from "node:os"
import { readFileSync } from "node:fs"
import type { Bench, Figure, Results, Verdict } from "./harness.ts"

/** A run as it is kept in `bench/results/NAME.json`. */
export interface Stored extends Results {
  readonly name: string
  readonly title: string
  readonly notes: string
  /** ISO date and time. */
  readonly at: string
  readonly machine: string
}

const effectVersion = (): string =>
  JSON.parse(readFileSync(new URL(import.meta.resolve("effect/package.json")), "utf8")).version

const machine = (): string => {
  const memory = Math.round(totalmem() / 2 ** 30)
  const load = loadavg()[0]?.toFixed(1)
  const processors = cpus()
  const hardware = `${processors.length} × ${processors[0]?.model ?? "CPU"}, ${memory} GiB`
  const software = `${type()} ${release()}, Node ${process.versions.node}`
  return `${hardware}, ${software}, effect ${effectVersion()}, load ${load}`
}

export const stored = (name: string, bench: Bench, results: Results): Stored => ({
  name,
  title: bench.title,
  notes: bench.notes ?? "",
  at: new Date().toISOString(),
  machine: machine(),
  ...results
})

/** One JSON object a line: figures first, then ratios. */
export const jsonLines = ({ figures, verdicts }: Results): string =>
  [...figures.map(({ name, unit, value }) => ({ name, value, unit })), ...verdicts]
    .map((line) => JSON.stringify(line))
    .join("\n")

const digits = (value: number): string =>
  value.toLocaleString("en-US", { maximumSignificantDigits: 4 })

const figureRow = ({ name, rounds, unit, value }: Figure): ReadonlyArray<string> => {
  const spread = `${digits(Math.min(...rounds))} – ${digits(Math.max(...rounds))}`
  return [name, digits(value), unit, spread]
}

const verdictRow = ({ bar, holds, name, unit, value }: Verdict): ReadonlyArray<string> => [
  name,
  unit === "ratio" ? value.toFixed(2) : digits(value),
  unit === "ratio" ? bar : `${bar} ${unit}`,
  holds ? "holds" : "does not hold"
]

const figureHead = ["figure", "median", "unit", "lowest – highest"]
const verdictHead = ["claim", "value", "bar", "verdict"]

/** Columns padded to the same width. */
export const table = ({ figures, verdicts }: Results): string => {
  const rows = [
    figureHead,
    ...figures.map(figureRow),
    ...(verdicts.length === 0 ? [] : [["", "", "", ""], verdictHead, ...verdicts.map(verdictRow)])
  ]
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = ([name, value, unit, rest]: ReadonlyArray<string>) =>
    [name!.padEnd(widths[0]!), value!.padStart(widths[1]!), unit!.padEnd(widths[2]!), rest]
      .join("  ")
      .trimEnd()
  return rows.map(line).join("\n")
}

const markdownTable = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, ["---", "---:", "---", "---"], ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")

/** The text of `docs/BENCHMARKS.md`. */
export const markdown = (runs: ReadonlyArray<Stored>): string => {
  const sections = runs.map((run) =>
    [
      `## ${run.name}`,
      `${run.title}. ${run.notes}`.trim(),
      `${run.at.slice(0, 10)}, on ${run.machine}.`,
      markdownTable(figureHead, run.figures.map(figureRow)),
      ...(run.verdicts.length === 0
        ? []
        : [markdownTable(verdictHead, run.verdicts.map(verdictRow))]),
      `Again: \`npm run bench -- ${run.name} --json\``
    ].join("\n\n")
  )
  const intro = `# Benchmarks

Written by \`npm run bench -- --report\` from \`bench/results\`; not edited by hand.

Every contestant runs in a process of its own, in turns, over at least five rounds; a run counts
only if it completed what it was asked for. A figure is the median of its rounds, a ratio the
quotient of two medians. Absolute figures belong to the machine, ratios travel further.`
  return [intro, ...sections].join("\n\n") + "\n"
}
