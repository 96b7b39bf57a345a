/**
 * Writes down what a run does, one line per event. Only runs that are going to be shown are
 * recorded: a failing seed is simply run again with a recorder, since the seed repeats it exactly.
 */
import type * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import type * as Fiber from "effect/Fiber"
import type { WaitingFiber } from "../SimError.ts"

/** One line of a trace. */
export interface Line {
  readonly millis: number
  readonly step: number
  readonly process: string
  readonly fiber: string
  readonly text: string
  /** How many steps in a row did nothing but run; such a line tells of no event. */
  readonly quietSteps?: number
  /** Set when the event goes from this process to another party. */
  readonly to?: string
}

interface Seen {
  label: string
  readonly process: string
  readonly fiber: Fiber.Fiber<unknown, unknown>
  lastStep: number
}

const nameOf = (fiber: Fiber.Fiber<unknown, unknown>): string => {
  const { span, stackFrame } = fiber.cache
  return stackFrame?.name ?? (span?._tag === "Span" ? span.name : "")
}

const placeOf = (fiber: Fiber.Fiber<unknown, unknown>): string =>
  fiber.cache.stackFrame?.stack()?.trim().split("\n", 1)[0] ?? ""

const ending = (exit: Exit.Exit<unknown, unknown>): string => {
  if (exit._tag === "Success") return "ends"
  if (Cause.hasInterruptsOnly(exit.cause)) return "is interrupted"
  const error = Cause.squash(exit.cause)
  return `fails: ${error instanceof Error ? error.message : String(error)}`.split("\n", 1)[0]!
}

/** Keeps the last lines of a run, and every fiber that it has seen. */
export class Recorder {
  readonly bound: number
  private readonly fibers = new Map<number, Seen>()
  private kept: Array<Line> = []
  private total = 0
  private current: Seen | undefined = undefined
  private process = "main"
  private stepNumber = 0
  private millis = 0
  private silent = false

  constructor(bound: number) {
    this.bound = bound
  }

  /** A step begins. */
  step(process: string, step: number, millis: number): void {
    this.flushStep()
    this.process = process
    this.stepNumber = step
    this.millis = millis
    this.current = undefined
    this.silent = true
  }

  /** A fiber is about to run an operation. */
  saw(fiber: Fiber.Fiber<unknown, unknown>, process: string, step: number): void {
    let seen = this.fibers.get(fiber.id)
    if (seen === undefined) {
      seen = { label: `#${this.fibers.size + 1}`, process, fiber, lastStep: step }
      this.fibers.set(fiber.id, seen)
      fiber.addObserver((exit) => this.event(ending(exit), seen))
    }
    // A fiber gets its name from the first named function or span that it enters.
    if (!seen.label.includes(" ")) seen.label = `${seen.label} ${nameOf(fiber)}`.trim()
    seen.lastStep = step
    this.current = seen
  }

  sleeps(process: string, millis: number, late: number): void {
    const lateness = late === 0 ? "" : `, wakes ${Number(late.toFixed(3))} ms late`
    this.event(`sleeps ${Number(millis.toFixed(3))} ms${lateness}`, this.current, process)
  }

  /** Something worth a line of its own. */
  event(text: string, seen = this.current, process = this.process, to?: string): void {
    this.silent = false
    const { stepNumber: step, millis } = this
    const line: Line = { millis, step, process: seen?.process ?? process, fiber: "", text }
    this.keep({ ...line, fiber: seen?.label ?? "", ...(to === undefined ? {} : { to }) })
  }

  /** The world itself does something to a process. */
  world(process: string, text: string, millis: number): void {
    this.flushStep()
    this.keep({ millis, step: this.stepNumber, process, fiber: "", text })
  }

  /** The fibers that have not ended. */
  waiting(): Array<typeof WaitingFiber.Type> {
    return [...this.fibers.values()]
      .filter(({ fiber }) => fiber.pollUnsafe() === undefined)
      .map(({ fiber, label, lastStep, process }) => ({
        fiber: label,
        process,
        lastStep,
        place: placeOf(fiber)
      }))
  }

  /** The last lines, and how many were left out before them. */
  lines(): { readonly omitted: number; readonly lines: ReadonlyArray<Line> } {
    this.flushStep()
    const lines = this.kept.slice(-this.bound)
    return { omitted: this.total - lines.length, lines }
  }

  private flushStep(): void {
    if (!this.silent) return
    this.silent = false
    const { stepNumber: step, millis } = this
    const process = this.current?.process ?? this.process
    const fiber = this.current?.label ?? ""
    const last = this.kept.at(-1)
    const goesOn = last?.process === process && last.fiber === fiber
    const before = goesOn ? (last.quietSteps ?? 0) : 0
    if (before > 0) this.kept.pop()
    else this.total++
    const quietSteps = before + 1
    const text = before === 0 ? "runs" : `runs (${quietSteps} steps)`
    this.kept.push({ millis, step, process, fiber, text, quietSteps })
    this.trim()
  }

  private keep(line: Line): void {
    this.total++
    this.kept.push(line)
    this.trim()
  }

  private trim(): void {
    if (this.kept.length > 2 * this.bound) this.kept = this.kept.slice(-this.bound)
  }
}
