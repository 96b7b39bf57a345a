/**
 * How a failing run is shown, on one screen: what broke, where and with which values; the faults
 * and preemptions without which it does not happen; what each fiber did around them; and the one
 * line that repeats it.
 *
 * @since 0.1.0
 */
import { describe } from "./FaultPlan.ts"
import { excerpt } from "./internal/excerpt.ts"
import type { Failure, Report, ShownPreemption } from "./internal/explore.ts"
import type { Line } from "./internal/recorder.ts"
import { valueText } from "./internal/values.ts"

/** The width of a terminal that is not made wider. */
const width = 80
/** The most messages of a sequence diagram beside a trace on one screen, and in a full printout. */
const diagramMessages = 8
const fullDiagramMessages = 40
/** The most waiting fibers that a message names; the trace shows what they did. */
const messageLines = 10

/**
 * How much to print.
 *
 * @category models
 * @since 0.1.0
 */
export interface PrintOptions {
  /** All lines of the trace, at their full width. Default false. */
  readonly full?: boolean | undefined
}

/**
 * A seed as it is written everywhere.
 *
 * @category printing
 * @since 0.1.0
 */
export const seedText = (seed: number): string => `0x${seed.toString(16)}`

const widest = (texts: ReadonlyArray<string>): number =>
  texts.reduce((longest, text) => Math.max(longest, text.length), 0)

const cut = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, Math.max(0, length - 3))}...` : text

const millisText = (millis: number): string => String(Number(millis.toFixed(3)))

const partyOf = (line: Line, isSingle: boolean): string =>
  isSingle ? line.fiber : [line.process, line.fiber].filter((text) => text !== "").join(" ")

const eventOf = ({ repeats, text, to }: Line): string => {
  const told = text.replaceAll("\n", " ")
  const event = to === undefined ? told : `${told} -> ${to}`
  if (repeats === undefined) return event
  return `${event} (${repeats.times} times more, to ${millisText(repeats.untilMillis)} ms)`
}

/**
 * The events of a run, one aligned line each: virtual time, step, fiber, source place, what
 * happened. Lines are cut at `lineWidth`.
 *
 * @category printing
 * @since 0.1.0
 */
export const trace = (lines: ReadonlyArray<Line>, omitted = 0, lineWidth = Infinity): string => {
  const isSingle = lines.every(({ process, to }) => process === "main" && to === undefined)
  const parties = lines.map((line) => cut(partyOf(line, isSingle), 22))
  const columns = [
    widest(["ms", ...lines.map(({ millis }) => millisText(millis))]),
    widest(["step", ...lines.map(({ step }) => String(step))]),
    widest(["fiber", ...parties]),
    widest(["place", ...lines.map(({ place }) => cut(place, 24))])
  ] as const
  const row = (millis: string, step: string, party: string, place: string, text: string) =>
    [
      millis.padStart(columns[0]),
      step.padStart(columns[1]),
      party.padEnd(columns[2]),
      cut(place, 24).padEnd(columns[3]),
      text
    ].join("  ")
  const gap = (count: number) => `${" ".repeat(columns[0])}  ... ${plural(count, "line")} left out`
  const rows = lines.flatMap((line, index) => {
    const { millis, place, step } = line
    const text = row(millisText(millis), String(step), parties[index]!, place, eventOf(line))
    return line.omitted === undefined ? [text] : [gap(line.omitted), text]
  })
  const head = row("ms", "step", "fiber", "place", "what happens")
  return [head, ...(omitted === 0 ? [] : [gap(omitted)]), ...rows]
    .map((text) => cut(text, lineWidth))
    .join("\n")
}

const escaped = (text: string): string =>
  text.replaceAll("#", "fiber ").replaceAll(/[;\n]/g, " ").slice(0, 80)

/**
 * The messages between processes as a Mermaid sequence diagram, the last ones if there are many;
 * empty if none passed.
 *
 * @category printing
 * @since 0.1.0
 */
export const diagram = (lines: ReadonlyArray<Line>, most = fullDiagramMessages): string => {
  const messages = lines.filter(({ to }) => to !== undefined).slice(-most)
  if (messages.length === 0) return ""
  const parties = [...new Set(messages.flatMap(({ process, to }) => [process, to!]))]
  const id = (party: string) => `p${parties.indexOf(party)}`
  const arrows = messages.map(
    ({ process, text, to }) => `  ${id(process)}->>${id(to!)}: ${escaped(text)}`
  )
  const participants = parties.map((party) => `  participant ${id(party)} as ${escaped(party)}`)
  return ["sequenceDiagram", ...participants, ...arrows].join("\n")
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

const preemptionLines = (shown: ShownPreemption): ReadonlyArray<string> => {
  const { fiber, place, preemption, source } = shown
  const who = fiber === "" ? "a task" : fiber
  const at = place === "" ? [] : [cut(`      ${place}  ${source}`, width)]
  switch (preemption._tag) {
    case "Yield":
      return [`  ${who} is preempted before this, and the others go first:`, ...at]
    case "Hold":
      return [
        `  ${who} is held before this for ${plural(preemption.steps, "step")} of others:`,
        ...at
      ]
    case "Late":
      return [`  a timer of ${who} fires ${millisText(preemption.millis)} ms late:`, ...at]
  }
}

const needs = (failed: Failure): ReadonlyArray<string> => {
  const { drawn, drawnPreemptions, inputs, plan, preemptions, schedule } = failed
  const counts = [
    ...(drawn.length === 0 ? [] : [`${plural(plan.length, "fault")} of ${drawn.length}`]),
    ...(schedule === undefined || drawnPreemptions === 0
      ? []
      : [`${plural(preemptions.length, "preemption")} of ${drawnPreemptions}`])
  ]
  const texts = inputs.map(valueText).filter((text) => text !== "")
  const input = texts.length === 0 ? [] : [cut(`  with the inputs ${texts.join(", ")}`, width)]
  if (counts.length === 0 && input.length === 0) return []
  const tried = failed.shrinkAttempts
  const spent = tried === 0 ? [] : [`found in ${plural(tried, "run")}`]
  const head = `what it takes (${[...counts, ...spent].join(", ")}):`
  const faults = plan.map((fault) => `  ${describe(fault)}`)
  const order = preemptions.flatMap(preemptionLines)
  const nothing = faults.length + order.length + input.length === 0
  return ["", head, ...faults, ...order, ...input, ...(nothing ? ["  the default order"] : [])]
}

const clipped = (message: string): ReadonlyArray<string> => {
  const lines = message.split("\n")
  if (lines.length <= messageLines) return lines
  return [...lines.slice(0, messageLines), `  ... ${lines.length - messageLines} more`]
}

/**
 * All of a failure, for a terminal of 80 columns and 50 lines. `repeat` is the line to paste.
 *
 * @category printing
 * @since 0.1.0
 */
export const failure = (
  failed: Failure,
  report: Report,
  repeat?: string,
  options: PrintOptions = {}
): string => {
  const full = options.full === true
  const shown = full
    ? { lines: failed.trace, omitted: 0 }
    : excerpt(failed.trace, failed.traceLines)
  const picture = diagram(failed.trace, full ? fullDiagramMessages : diagramMessages)
  const at = failed.place === "" ? [] : [cut(`  at ${failed.place}  ${failed.source}`, width)]
  return [
    ...(full ? [failed.message] : clipped(failed.message)),
    ...at,
    "",
    `seed ${seedText(failed.seed)}, run ${report.runs}: ` +
      `${plural(failed.steps, "step")}, ${millisText(failed.millis)} ms of virtual time`,
    ...needs(failed),
    "",
    trace(shown.lines, failed.omitted, full ? Infinity : width),
    ...(shown.omitted > 0 ? ["  (SIM_TRACE=full prints all lines)"] : []),
    ...(picture === "" ? [] : ["", "```mermaid", picture, "```"]),
    ...(repeat === undefined ? [] : ["", "repeat it:", `  ${repeat}`])
  ].join("\n")
}

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
