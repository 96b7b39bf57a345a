/**
 * Writes down what a run does, one line per operation of the program and per event. Only runs that
 * are going to be shown are recorded: a failing seed is simply run again with a recorder, since the
 * seed repeats it exactly.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import type { WaitingFiber } from "../SimError.ts"
import type { Fibers, Seen } from "./fibers.ts"
import { type Place, shortPlace } from "./places.ts"
import type { Struck } from "./script.ts"
import { valueText } from "./values.ts"

/** One line of a trace. */
export interface Line {
  readonly millis: number
  readonly step: number
  readonly process: string
  readonly fiber: string
  /** The source place, `bank.ts:16`, or the span; empty if neither is known. */
  readonly place: string
  readonly text: string
  /** Faults and preemptions: what stands around them is shown first. */
  readonly isMark?: boolean
  /** How many steps in a row did nothing that has a line of its own. */
  readonly quietSteps?: number
  /** Set when the event goes from this process to another party. */
  readonly to?: string
  /** How often this line was repeated, and until when; those lines are left out. */
  readonly repeats?: { readonly times: number; readonly untilMillis: number }
  /** How many lines were left out before this one. */
  readonly omitted?: number
}

/** An operation of a `yield*` that has begun. */
interface Pending {
  readonly operation: object
  readonly place: Place
  /** Whether it, or something within it, has a line already. */
  isShown: boolean
}

interface Details {
  readonly seen?: Seen | undefined
  readonly place?: Place | undefined
  readonly process?: string | undefined
  readonly to?: string | undefined
  readonly isMark?: boolean
}

const endingText = (exit: Exit.Exit<unknown, unknown>): string => {
  if (exit._tag === "Success") return "ends"
  if (Cause.hasInterruptsOnly(exit.cause)) return "is interrupted"
  const error = Cause.squash(exit.cause)
  return `fails: ${error instanceof Error ? error.message : String(error)}`.split("\n", 1)[0]!
}

/** The source text of an operation without what is around every one. */
const operationText = ({ line, text }: Place): string =>
  text === "" ? `line ${line}` : text.replace(/^(const|let|return) /, "").replace("yield* ", "")

const marking = /^(crashes|pauses|resumes|clock jumps|chaos at|held at|journal |all faults stop)/

const preemptionText = ({ preemption }: Struck): string => {
  switch (preemption._tag) {
    case "Yield":
      return "PREEMPTED: the others go first"
    case "Hold":
      return `HELD while others take ${preemption.steps} steps`
    case "Late":
      return `its timer fires ${Number(preemption.millis.toFixed(3))} ms late`
  }
}

/** Lines of a run before the oldest are dropped; a run that was shrunk has far fewer. */
const bound = 50_000

/** Keeps the lines of a run. */
export class Recorder {
  private readonly fibers: Fibers
  /** In a given schedule the late timers are few. */
  private readonly marksLate: boolean
  private readonly operations = new Map<Seen, Array<Pending>>()
  private kept: Array<Line> = []
  /** Preemptions whose fiber is not known when they begin. */
  private readonly unresolved = new Map<Line, Struck>()
  private dropped = 0
  private process = "main"
  private stepNumber = 0
  private millis = 0
  private isSilent = false
  /** The fiber of this step, unless it has left its operation for later. */
  private suspended: Seen | undefined = undefined

  constructor(fibers: Fibers, isGiven: boolean) {
    this.fibers = fibers
    this.marksLate = isGiven
    fibers.onEnd = (seen, exit) => this.event(endingText(exit), seen)
  }

  /** A step begins. */
  step(process: string, step: number, millis: number): void {
    this.flushStep()
    this.process = process
    this.stepNumber = step
    this.millis = millis
    this.isSilent = true
  }

  /** A fiber is about to run an operation. */
  runs(seen: Seen): void {
    if (seen !== this.suspended) this.showPending()
    this.suspended = seen
  }

  /** The operation of a `yield*` begins. */
  begins(seen: Seen, operation: object, place: Place): void {
    if (!place.isProgram) return
    let pending = this.operations.get(seen)
    if (pending === undefined) this.operations.set(seen, (pending = []))
    // What contains others is told by them.
    for (const outer of pending) outer.isShown = true
    pending.push({ operation, place, isShown: false })
    this.suspended = seen
  }

  /** The operation of a `yield*` has a result. */
  ends(seen: Seen, operation: object, value: unknown): void {
    const pending = this.operations.get(seen) ?? []
    const index = pending.findIndex((one) => one.operation === operation)
    if (index === -1) return
    const [{ isShown, place }] = pending.splice(index) as [Pending]
    const result = valueText(value)
    if (isShown && result === "") return
    this.put(`${operationText(place)}${result === "" ? "" : ` → ${result}`}`, { seen, place })
  }

  sleeps(process: string, millis: number, late = 0): void {
    const lateness = late === 0 ? "" : `, wakes ${Number(late.toFixed(3))} ms late`
    const text = `sleeps ${Number(millis.toFixed(3))} ms${lateness}`
    this.put(text, { process, isMark: late > 0 && this.marksLate })
  }

  /** A preemption takes place. */
  preempted(struck: Struck): void {
    if (struck.preemption._tag === "Late") return
    const seen = struck.fiber
    if (struck.preemption._tag === "Yield") this.suspended = undefined
    this.isSilent = false
    const line = this.line(preemptionText(struck), seen, struck.place)
    this.keep({ ...line, isMark: true }, struck)
  }

  /** Something worth a line of its own; `to` is the other party that it goes to. */
  event(text: string, seen?: Seen, process?: string, to?: string): void {
    this.put(text, { isMark: marking.test(text), seen, process, to })
  }

  /** The world itself does something to a process. */
  world(process: string, text: string, millis: number): void {
    this.flushStep()
    const isMark = marking.test(text)
    const line = { millis, step: this.stepNumber, process, fiber: "", place: "", text }
    this.keep(isMark ? { ...line, isMark } : line)
  }

  /** The fibers that have not ended. */
  waiting(): Array<typeof WaitingFiber.Type> {
    return [...this.fibers.all.values()]
      .filter(({ fiber }) => fiber.pollUnsafe() === undefined)
      .map(({ label, lastStep, place, process }) => ({
        fiber: label,
        process,
        lastStep,
        place: place === undefined ? "" : `at ${shortPlace(place)}: ${operationText(place)}`
      }))
  }

  /** All lines that are still there, and how many were dropped before them. */
  lines(): { readonly dropped: number; readonly lines: ReadonlyArray<Line> } {
    this.flushStep()
    const lines = this.kept.map((line) => {
      const { fiber: seen, place } = this.unresolved.get(line) ?? {}
      if (seen === undefined) return line
      const at = place === undefined ? "" : shortPlace(place)
      return { ...line, process: seen.process, fiber: seen.label, place: at }
    })
    return { dropped: this.dropped, lines }
  }

  private put(text: string, options: Details): void {
    const seen = options.seen ?? this.fibers.running()
    const { isMark = false, process, to } = options
    this.isSilent = false
    const pending = (seen && this.operations.get(seen)) ?? []
    const place = options.place ?? pending.at(-1)?.place ?? seen?.place
    // What happens within an operation tells of it.
    for (const outer of pending) outer.isShown = true
    const line = this.line(text, seen, place)
    const party = seen?.process ?? process ?? line.process
    this.keep({
      ...line,
      process: party,
      ...(isMark && { isMark }),
      ...(to !== undefined && { to })
    })
  }

  private line(text: string, seen: Seen | undefined, place: Place | undefined): Line {
    const { millis, process, stepNumber: step } = this
    const at = place === undefined ? "" : shortPlace(place)
    const fiber = seen?.label ?? ""
    return { millis, step, process: seen?.process ?? process, fiber, place: at, text }
  }

  /** An operation that has begun, was not left for later and is not done: its fiber waits in it. */
  private showPending(): void {
    const seen = this.suspended
    this.suspended = undefined
    const last = seen && this.operations.get(seen)?.at(-1)
    if (last === undefined || last.isShown) return
    last.isShown = true
    this.put(`${operationText(last.place)} ...`, { seen, place: last.place })
  }

  private flushStep(): void {
    this.showPending()
    if (!this.isSilent) return
    this.isSilent = false
    const seen = this.fibers.current
    const last = this.kept.at(-1)
    const before = last?.fiber === (seen?.label ?? "") ? (last.quietSteps ?? 0) : 0
    if (before > 0) this.kept.pop()
    const quietSteps = before + 1
    const text = quietSteps === 1 ? "goes on" : `goes on (${quietSteps} steps)`
    this.keep({ ...this.line(text, seen, seen?.place), quietSteps })
  }

  private keep(line: Line, struck?: Struck): void {
    this.kept.push(line)
    if (struck !== undefined && struck.fiber === undefined) this.unresolved.set(line, struck)
    if (this.kept.length < 2 * bound) return
    this.dropped += this.kept.length - bound
    this.kept = this.kept.slice(-bound)
  }
}
