/**
 * How a failing run is shown: what broke, the faults that were needed, one aligned line for each
 * event, a Mermaid sequence diagram, and the one line that repeats it.
 *
 * @since 0.1.0
 */
import { describe } from "./FaultPlan.ts"
import type { Failure, Report } from "./internal/explore.ts"
import type { Line } from "./internal/recorder.ts"

/** The most messages of a sequence diagram; more of them nobody reads. */
const diagramLines = 40

/**
 * A seed as it is written everywhere.
 *
 * @category printing
 * @since 0.1.0
 */
export const seedText = (seed: number): string => `0x${seed.toString(16)}`

const widest = (texts: ReadonlyArray<string>): number =>
  texts.reduce((width, text) => Math.max(width, text.length), 0)

/**
 * The events of a run, one aligned line each: virtual time, step, process, fiber, what happened.
 *
 * @category printing
 * @since 0.1.0
 */
export const trace = (lines: ReadonlyArray<Line>, omitted = 0): string => {
  const processWidth = widest(["process", ...lines.map(({ process }) => process)])
  const fiberWidth = widest(["fiber", ...lines.map(({ fiber }) => fiber)])
  const row = (millis: string, step: string, process: string, fiber: string, text: string) =>
    `${millis.padStart(12)} ${step.padStart(6)}  ${process.padEnd(processWidth)}  ` +
    `${fiber.padEnd(fiberWidth)}  ${text}`
  const head = row("ms", "step", "process", "fiber", "event")
  const gap = omitted === 0 ? [] : [`${" ".repeat(12)} ... ${omitted} earlier lines left out`]
  const body = lines.map(({ millis, step, process, fiber, text, to }) =>
    row(
      millis.toFixed(3),
      String(step),
      process,
      fiber,
      to === undefined ? text : `${text} -> ${to}`
    )
  )
  return [head, ...gap, ...body].join("\n")
}

const escaped = (text: string): string =>
  text.replaceAll("#", "fiber ").replaceAll(/[;\n]/g, " ").slice(0, 80)

/**
 * The same events as a Mermaid sequence diagram. Its parties are the processes, or the fibers of a
 * program that has one process only.
 *
 * @category printing
 * @since 0.1.0
 */
export const diagram = (lines: ReadonlyArray<Line>): string => {
  const single = lines.every(({ process, to }) => process === "main" && to === undefined)
  const partyOf = ({ fiber, process }: Line) => (single && fiber !== "" ? fiber : process)
  const shown = lines.filter(({ quietSteps }) => quietSteps === undefined).slice(-diagramLines)
  const parties = [...new Set(shown.flatMap((line) => [partyOf(line), line.to ?? partyOf(line)]))]
  const id = (party: string) => `p${parties.indexOf(party)}`
  const messages = shown.map((line) =>
    line.to === undefined
      ? `  Note over ${id(partyOf(line))}: ${escaped(line.text)}`
      : `  ${id(partyOf(line))}->>${id(line.to)}: ${escaped(line.text)}`
  )
  const participants = parties.map((party) => `  participant ${id(party)} as ${escaped(party)}`)
  return ["sequenceDiagram", ...participants, ...messages].join("\n")
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

const faults = ({ drawn, plan, shrinkAttempts }: Failure): ReadonlyArray<string> => {
  if (drawn.length === 0) return []
  const shrunk = `${plural(plan.length, "fault")} left of ${drawn.length}`
  const head = `faults (${shrunk}, ${plural(shrinkAttempts, "run")} spent on shrinking):`
  return ["", head, ...plan.map((fault) => `  ${describe(fault)}`)]
}

/**
 * All of a failure, for a terminal. `repeat` is the line to paste.
 *
 * @category printing
 * @since 0.1.0
 */
export const failure = (failed: Failure, report: Report, repeat?: string): string =>
  [
    failed.message,
    "",
    `seed ${seedText(failed.seed)}, run ${report.runs}: ` +
      `${plural(failed.steps, "step")}, ${Number(failed.millis.toFixed(3))} ms of virtual time`,
    ...faults(failed),
    "",
    trace(failed.trace, failed.omitted),
    "",
    "```mermaid",
    diagram(failed.trace),
    "```",
    ...(repeat === undefined ? [] : ["", "repeat it:", `  ${repeat}`])
  ].join("\n")

/**
 * A report as a JSON value, for machines.
 *
 * @category printing
 * @since 0.1.0
 */
export const json = (report: Report): object => {
  if (report.failure === undefined) return { ...report, failure: null }
  const { cause: _, ...failed } = report.failure
  return { ...report, failure: failed }
}
