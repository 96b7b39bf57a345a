/**
 * Prints a failing run on one screen: what broke, where and with which values; the faults and
 * preemptions without which it does not happen; the lines of each fiber around them; and the one
 * line that repeats it.
 */

import { describe, type Fault } from "./FaultPlan.ts"
import { excerpt } from "./internal/sim/excerpt.ts"
import type { Failure, Report, ShownPreemption } from "./internal/sim/explore.ts"
import type { Line } from "./internal/sim/recorder.ts"
import { isEndless } from "./internal/sim/script.ts"
import { valueText } from "./internal/sim/values.ts"

/** The width of a standard terminal, less its prompt and the lines around a trace. */
const width = 80
const height = 44
/** The fewest lines of a trace. */
const leastTraceLines = 12
/** The most messages of a sequence diagram beside a trace on one screen, and in a full printout. */
const diagramMessages = 8
const leastDiagramMessages = 2
/** Fences, title and three parties of a diagram, and the line that repeats the run. */
const linesAroundDiagram = 10
const fullDiagramMessages = 40
/** The most waiting fibers that a message names; the trace has the others. */
const messageLines = 10

/** How much to print. */
export interface PrintOptions {
  /** All lines of the trace, at their full width. Default false. */
  readonly full?: boolean | undefined
}

/** A seed in its usual form. */
export const seedText = (seed: number): string => `0x${seed.toString(16)}`

const widest = (texts: ReadonlyArray<string>): number =>
  texts.reduce((longest, text) => Math.max(longest, text.length), 0)

const cut = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, Math.max(0, length - 3))}...` : text

const millisText = (millis: number): string => String(Number(millis.toFixed(3)))

const partyOf = ({ fiber, process }: Line): string =>
  fiber === "" ? process : process === "main" ? fiber : `${process} ${fiber}`

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/** The fewest characters of an event's text. */
const leastText = 12

/** The text of an event, cut where it matters least: results, parties and counts stay. */
const eventOf = (line: Line, length: number): string => {
  const { ending = "", isFault, repeats, text, to } = line
  // The kind of a fault matters more than the party that it affects.
  const isTight = isFault === true && leastText + `${ending} -> ${to}`.length > length
  const rest = [
    ending,
    ...(to === undefined || isTight ? [] : [` -> ${to}`]),
    ...(repeats === undefined
      ? []
      : [` (${plural(repeats.times, "time")} more, to ${millisText(repeats.untilMillis)} ms)`])
  ].join("")
  return cut(text.replaceAll("\n", " "), Math.max(leastText, length - rest.length)) + rest
}

/**
 * The events of a run, one aligned line each: virtual time, step, fiber, source place and event.
 * Lines are cut at `lineWidth`.
 */
export const trace = (lines: ReadonlyArray<Line>, omitted = 0, lineWidth = Infinity): string => {
  const parties = lines.map((line) => cut(partyOf(line), 22))
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
    const event = eventOf(line, lineWidth - columns.reduce((sum, column) => sum + column + 2, 0))
    const text = row(millisText(millis), String(step), parties[index]!, place, event)
    return line.omitted === undefined ? [text] : [gap(line.omitted), text]
  })
  const head = row("ms", "step", "fiber", "place", "what happens")
  return [head, ...(omitted === 0 ? [] : [gap(omitted)]), ...rows]
    .map((text) => cut(text, lineWidth))
    .join("\n")
}

/** The longest message of a diagram. */
const messageLength = 80

/** Text after it, such as a fault, is not cut. */
const escaped = (text: string, ending = ""): string => {
  const whole = text.replaceAll("#", "fiber ").replaceAll(/[;\n]/g, " ")
  return cut(whole, messageLength - ending.length) + ending
}

/** The messages with faults, and the last ones around them. */
const chosenMessages = (lines: ReadonlyArray<Line>, most: number): ReadonlyArray<Line> => {
  const messages = lines.filter(({ to }) => to !== undefined)
  const struck = messages.filter(({ isFault }) => isFault === true).slice(-most)
  const others = messages.filter(({ isFault }) => isFault !== true)
  const chosen = new Set([...struck, ...others.slice(others.length - (most - struck.length))])
  return messages.filter((line) => chosen.has(line))
}

/**
 * The messages between processes as a Mermaid sequence diagram; if there are many, those with
 * faults and the last ones. Empty if there was none.
 */
export const diagram = (lines: ReadonlyArray<Line>, most = fullDiagramMessages): string => {
  const messages = chosenMessages(lines, most)
  if (messages.length === 0) return ""
  const parties = [...new Set(messages.flatMap(({ process, to }) => [process, to!]))]
  const id = (party: string) => `p${parties.indexOf(party)}`
  const arrows = messages.map(
    ({ ending, process, text, to }) => `  ${id(process)}->>${id(to!)}: ${escaped(text, ending)}`
  )
  const participants = parties.map((party) => `  participant ${id(party)} as ${escaped(party)}`)
  return ["sequenceDiagram", ...participants, ...arrows].join("\n")
}

/** The most faults and preemptions that a report lists; fewer below a long message. */
const listed = 4
const listedUnderLongMessage = 3
const longMessage = 5

/** The first ones, and the number of the others. */
const capped = (
  items: ReadonlyArray<ReadonlyArray<string>>,
  most: number,
  rest: (items: number) => string
): ReadonlyArray<string> => [
  ...items.slice(0, most).flat(),
  ...(items.length > most ? [rest(items.length - most)] : [])
]

const preemptionLines = (
  { fiber, place, preemption, source }: ShownPreemption,
  times: number
): ReadonlyArray<string> => {
  const often = times === 1 ? "" : ` ${times} times`
  const who = fiber === "" ? "a task" : fiber
  const at = place === "" ? [] : [cut(`      ${place}  ${source}`, width)]
  switch (preemption._tag) {
    case "Yield":
      return [`  ${who} is preempted${often} before this, and the others go first:`, ...at]
    case "Hold": {
      const { steps } = preemption
      const until = isEndless(steps) ? "to the end" : `for ${plural(steps, "step")} of others`
      return [`  ${who} is held${often} before this ${until}:`, ...at]
    }
    case "Late":
      return [`  a timer of ${who} fires${often} ${millisText(preemption.millis)} ms late:`, ...at]
  }
}

/** Preemptions with the same text are one item, with their number. */
const preemptionItems = (
  shown: ReadonlyArray<ShownPreemption>
): ReadonlyArray<ReadonlyArray<string>> => {
  const equal = Map.groupBy(shown, (one) => preemptionLines(one, 1).join("\n"))
  return [...equal.values()].map((group) => preemptionLines(group[0]!, group.length))
}

const verbs = { Crash: "crashes", Pause: "pauses", Skew: "clock jumps" } as const

/** A fault, and the last known place of the affected process. */
const faultLines = (fault: Fault, lines: ReadonlyArray<Line>): ReadonlyArray<string> => {
  const text = cut(`  ${describe(fault)}`, width)
  if (!("process" in fault)) return [text]
  const { at, process } = fault
  const struck = lines.findIndex(
    ({ isMark, millis, process: party, step, text: event }) =>
      isMark === true &&
      party === process &&
      event.startsWith(verbs[fault._tag]) &&
      ("step" in at ? step + 1 >= at.step : millis >= at.millis)
  )
  const last = lines.slice(0, Math.max(0, struck)).findLast((line) => line.process === process)
  if (last === undefined || last.place === "") return [text]
  return [`${text}, when it was at:`, cut(`      ${last.place}  ${eventOf(last, width)}`, width)]
}

const countsOf = (failed: Failure): ReadonlyArray<string> => {
  const { drawn, drawnPreemptions, plan, preemptions, schedule, shrinkAttempts } = failed
  const ofOrder = schedule === undefined || drawnPreemptions === 0
  return [
    ...(drawn.length === 0 ? [] : [`${plural(plan.length, "fault")} of ${drawn.length}`]),
    ...(ofOrder ? [] : [`${plural(preemptions.length, "preemption")} of ${drawnPreemptions}`]),
    ...(shrinkAttempts === 0 ? [] : [`${plural(shrinkAttempts, "run")} tried`])
  ]
}

/** The limit that ended the shrinking before it was complete. */
const spentLine = ({ shrinkAttempts, shrinkSpent }: Failure): ReadonlyArray<string> => {
  const isAskedFor = shrinkAttempts === 0 && shrinkSpent !== "timeout"
  if (shrinkSpent === undefined || isAskedFor) return []
  return [`  (shrinking ended at its limit ${shrinkSpent}: a smaller run may fail too)`]
}

const needs = (failed: Failure, most: number): ReadonlyArray<string> => {
  const { inputs, plan, preemptions, schedule } = failed
  const values = inputs.map(valueText).filter((text) => text !== "")
  const lines = [
    ...capped(
      plan.map((fault) => faultLines(fault, failed.trace)),
      most,
      (more) => `  ... ${plural(more, "fault")} more`
    ),
    ...capped(
      preemptionItems(preemptions),
      most,
      (more) => `  ... preemptions at ${more} more places`
    ),
    ...(values.length === 0 ? [] : [cut(`  drawn inputs: ${values.join(", ")}`, width)])
  ]
  const nothing =
    schedule === undefined
      ? "  no fault; the order is the one that the seed draws"
      : "  no fault and no preemption: it fails in the default order"
  const counts = countsOf(failed).join(", ")
  const head = `what it takes${counts === "" ? "" : ` (${counts})`}:`
  return ["", head, ...(lines.length === 0 ? [nothing] : lines), ...spentLine(failed)]
}

/**
 * Wraps a line between words, and a word that is longer than a row; further rows are indented by
 * two more.
 */
const wrapped = (line: string): ReadonlyArray<string> => {
  const indent = `${/^ */.exec(line)![0].slice(0, width / 2)}  `
  const rows: Array<string> = []
  let from = 0
  for (;;) {
    const lead = rows.length === 0 ? "" : indent
    const room = width - lead.length
    const next = line.slice(from, from + room + 1)
    if (next.length <= room) return [...rows, lead + next]
    const space = next.trimStart() === "" ? -1 : next.lastIndexOf(" ")
    const isWord = space > indent.length
    rows.push(lead + next.slice(0, isWord ? space : room))
    from += isWord ? space + 1 : room
  }
}

const clipped = (message: string): ReadonlyArray<string> => {
  const lines = message.split("\n").flatMap(wrapped)
  if (lines.length <= messageLines) return lines
  return [...lines.slice(0, messageLines), `  ... ${lines.length - messageLines} more`]
}

/** The number of the run, or how it was found: a smaller seed may replace the first failing one. */
const runOf = ({ seed }: Failure, { firstFailingSeed: first, runs }: Report): string =>
  first === undefined || first === seed
    ? `run ${runs}`
    : `smaller than ${seedText(first)}, which failed first`

/** A failure for a terminal of 80 columns and 50 lines. `repeat` is the line to paste. */
export const failure = (
  failed: Failure,
  report: Report,
  repeat?: string,
  options: PrintOptions = {}
): string => {
  const full = options.full === true
  const message = full ? [failed.message] : clipped(failed.message)
  const most = message.length > longMessage ? listedUnderLongMessage : listed
  const raised = failed.place === "" ? [] : [cut(`  at ${failed.place}  ${failed.source}`, width)]
  const above = [
    ...message,
    ...raised,
    "",
    `seed ${seedText(failed.seed)}, ${runOf(failed, report)}: ` +
      `${plural(failed.steps, "step")}, ${millisText(failed.millis)} ms of virtual time`,
    ...needs(failed, full ? Infinity : most),
    ""
  ]
  const spare = height - above.length - leastTraceLines - linesAroundDiagram
  const messages = Math.min(diagramMessages, Math.max(leastDiagramMessages, spare))
  const picture = diagram(failed.trace, full ? fullDiagramMessages : messages)
  const below = [
    ...(picture === "" ? [] : ["", "```mermaid", ...picture.split("\n"), "```"]),
    ...(repeat === undefined ? [] : ["", "repeat it:", `  ${repeat}`])
  ]
  const room = Math.max(leastTraceLines, height - above.length - below.length)
  const count = full ? Infinity : (failed.traceLines ?? room)
  const shown = full ? { lines: failed.trace, omitted: 0 } : excerpt(failed.trace, count)
  return [
    ...above,
    trace(shown.lines, failed.omitted, full ? Infinity : width),
    ...(shown.omitted > 0 ? ["  (SIM_TRACE=full prints all lines)"] : []),
    ...below
  ].join("\n")
}

/** A report as a JSON value, for machines. */
export const json = (report: Report): object => {
  if (report.failure === undefined) return { ...report, failure: null }
  const { cause: _, ...failed } = report.failure
  return { ...report, failure: failed }
}
