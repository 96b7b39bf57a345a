/** Renders results: JSON lines for machines, a table for people, and `docs/BENCHMARKS.md`. */
import { cpus, loadavg, release, totalmem, type } from "node:os"
import { readFileSync } from "node:fs"
import type { Bench, Results } from "./harness.ts"
import { type Claim, estimate, type Figure, judge, together, type Verdict } from "./statistics.ts"

/** A run as it is kept: measured figures only, which are judged anew whenever they are shown. */
export interface Run extends Results {
  /** The processor's model, as the operating system names it. */
  readonly processor: string
  readonly machine: string
  /** ISO date and time. */
  readonly at: string
}

/** The file `bench/results/NAME.json`: one run of each processor model. */
export type Stored = ReadonlyArray<Run>

const effectVersion = (): string =>
  JSON.parse(readFileSync(new URL(import.meta.resolve("effect/package.json")), "utf8")).version

const machine = (): string => {
  const memory = Math.round(totalmem() / 2 ** 30)
  const load = loadavg()[0]?.toFixed(1)
  const hardware = `${cpus().length} processors, ${memory} GiB`
  const software = `${type()} ${release()}, Node ${process.versions.node}`
  return `${hardware}, ${software}, effect ${effectVersion()}, load ${load}`
}

/** Results as a run of this machine. */
export const runOf = (results: Results): Run => ({
  processor: cpus()[0]?.model.trim() ?? "unknown processor",
  machine: machine(),
  at: new Date().toISOString(),
  ...results
})

/** Keeps a run in place of the last one of its processor model, be it better or worse. */
export const keep = (stored: Stored, run: Run): Stored =>
  [...stored.filter(({ processor }) => processor !== run.processor), run].toSorted((a, b) =>
    a.processor < b.processor ? -1 : 1
  )

const verdictsOf = (claims: ReadonlyArray<Claim>, { figures }: Results) =>
  claims.map((claim) => judge(figures, claim))

/** One JSON object a line: figures first, then claims, then contestants that failed. */
export const jsonLines = (claims: ReadonlyArray<Claim>, results: Results): string =>
  [
    ...results.figures.map(({ name, rounds, unit }) => ({
      name,
      unit,
      ...estimate(rounds),
      rounds: rounds.length
    })),
    ...verdictsOf(claims, results).map(({ bar, estimate: found, finding, name, unit }) => ({
      name,
      unit,
      bar,
      finding,
      value: found?.value,
      low: found?.low,
      high: found?.high
    })),
    ...results.failures
  ]
    .map((line) => JSON.stringify(line))
    .join("\n")

const digits = (value: number): string =>
  value.toLocaleString("en-US", { maximumSignificantDigits: 4 })

const span = ({ high, low }: { readonly low: number; readonly high: number }): string =>
  Number.isFinite(low) && Number.isFinite(high)
    ? `${digits(low)} – ${digits(high)}`
    : "too few rounds"

const figureRow = ({ name, rounds, unit }: Figure): ReadonlyArray<string> => {
  const found = estimate(rounds)
  return [name, digits(found.value), span(found), unit, String(rounds.length)]
}

const barOf = ({ bar, unit }: Verdict): string => (unit === "ratio" ? bar : `${bar} ${unit}`.trim())

const verdictRow = (verdict: Verdict): ReadonlyArray<string> => {
  const { estimate: found, finding, name } = verdict
  return found === undefined
    ? [name, "", "", barOf(verdict), finding]
    : [name, digits(found.value), span(found), barOf(verdict), finding]
}

const figureHead = ["figure", "median", "95 % interval", "unit", "rounds"]
const verdictHead = ["claim", "value", "95 % interval", "bar", "verdict"]

const failureLine = ({ contestant, reason }: Results["failures"][number]): string =>
  `failed: ${contestant}: ${reason.trim().split("\n").join(" ")}`

/** Columns padded to the same width. */
export const table = (claims: ReadonlyArray<Claim>, results: Results): string => {
  const verdicts = verdictsOf(claims, results)
  const rows = [
    figureHead,
    ...results.figures.map(figureRow),
    ...(verdicts.length === 0 ? [] : [[], verdictHead, ...verdicts.map(verdictRow)])
  ]
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0))
  const widths = figureHead.map((_, column) => width(column))
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 1 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
      )
      .join("  ")
      .trimEnd()
  )
  return [...lines, ...results.failures.map(failureLine)].join("\n")
}

const markdownTable = (
  head: ReadonlyArray<string>,
  aligned: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>
) => [head, aligned, ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")

const claimCell = ({ estimate: found, finding }: Verdict): string =>
  found === undefined ? finding : `${digits(found.value)} (${span(found)}): ${finding}`

/** A row of a claim on all processors, with what holds on all of them. */
const claimRow = (stored: Stored, claim: Claim): ReadonlyArray<string> => {
  const verdicts = stored.map(({ figures }) => judge(figures, claim))
  // A unit is known where the figure was measured.
  const shown = verdicts.find(({ unit }) => unit !== "") ?? judge([], claim)
  const all = together(verdicts.map(({ finding }) => finding))
  return [shown.name, barOf(shown), ...verdicts.map(claimCell), all]
}

const section = (name: string, bench: Bench, stored: Stored): string => {
  const { claims = [], notes = "", title } = bench
  const processors = stored.map(({ processor }) => processor)
  const head = ["claim", "bar", ...processors, "on all"]
  const rows = claims.map((claim) => claimRow(stored, claim))
  const figures = stored.flatMap((run) => [
    `On ${run.processor}, ${run.at.slice(0, 10)}: ${run.machine}.`,
    ...run.failures.map(failureLine),
    markdownTable(figureHead, ["---", "---:", "---", "---", "---:"], run.figures.map(figureRow))
  ])
  return [
    `## ${name}`,
    `${title}. ${notes}`.trim(),
    ...(rows.length === 0
      ? []
      : [
          markdownTable(
            head,
            head.map(() => "---"),
            rows
          )
        ]),
    ...figures,
    `Again: \`npm run bench -- ${name} --json\``
  ].join("\n\n")
}

/** The text of `docs/BENCHMARKS.md`. */
export const markdown = (
  benches: ReadonlyArray<{ readonly name: string; readonly bench: Bench; readonly stored: Stored }>
): string => {
  const intro = `# Benchmarks

Written by \`npm run bench -- --report\` from \`bench/results\`; not edited by hand.

Every contestant runs in a process of its own, at the usual priority. A round runs all of them in
one order and then in its reverse, so that steady drift of the machine cancels; a run counts only
if it completed what it was asked for. A figure is the median of its rounds, a ratio the median of
the rounds' ratios, each with its exact 95 % interval. A claim holds, or does not hold, if its whole
interval lies on one side of the bar; otherwise it is undecided. A race goes on until its claims
are decided, up to 28 rounds or an hour.

The last run of each processor model is kept, never the best one. Figures belong to the machine, and
ratios do too: a claim counts as holding only if it holds on all of them.`
  return [intro, ...benches.map(({ bench, name, stored }) => section(name, bench, stored))]
    .join("\n\n")
    .concat("\n")
}
