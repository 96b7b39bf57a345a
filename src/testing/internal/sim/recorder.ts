/**
 * Records a run, one line per operation of the program and per event. Only runs that will be shown
 * are recorded: a failing seed is simply run again with a recorder, since the seed repeats it
 * exactly.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import type { WaitingFiber } from "../../SimError.ts"
import { messageText } from "./errorText.ts"
import type { Fibers, Seen } from "./fibers.ts"
import { type Place, shortPlace } from "./places.ts"
import { isEndless, type Struck } from "./script.ts"
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
  /** Follows the text, and is not cut: for example, the result of an operation. */
  readonly ending?: string
  /** Faults and preemptions: lines around them are shown first. */
  readonly isMark?: boolean
  /** A fault of the plan takes effect here: always shown. */
  readonly isFault?: boolean
  /** Number of steps in a row without a line. */
  readonly quietSteps?: number
  /** Set when the event goes from this process to another party. */
  readonly to?: string
  /** How often this line was repeated, and until when; those lines are left out. */
  readonly repeats?: { readonly times: number; readonly untilMillis: number }
  /** Number of lines that were left out before this one. */
  readonly omitted?: number
}

/** An operation of a `yield*` that has begun. */
interface Pending {
  readonly operation: object
  readonly place: Place
  readonly step: number
  /** Whether it, or an operation within it, has a line already; whether it contains others. */
  isShown: boolean
  isOuter: boolean
}

interface Details {
  readonly seen?: Seen | undefined
  readonly place?: Place | undefined
  readonly process?: string | undefined
  readonly to?: string | undefined
  readonly ending?: string
  readonly isMark?: boolean
  readonly isFault?: boolean
}

/** A line whose fiber may still get its name. */
interface Kept {
  readonly line: Line
  readonly seen: Seen | undefined
  /** Set for a preemption of a fiber that was not known when it began. */
  readonly struck: Struck | undefined
}

const endingText = (exit: Exit.Exit<unknown, unknown>): string => {
  if (exit._tag === "Success") return "ends"
  if (Cause.hasInterruptsOnly(exit.cause)) return "is interrupted"
  return `fails: ${messageText(Cause.squash(exit.cause))}`.split("\n", 1)[0]!
}

const isSleep = ({ operation }: Place): boolean => operation.startsWith("Effect.sleep(")

const marking = /^(crashes|pauses|resumes|clock jumps|chaos at|held at|journal |all faults stop)/

const striking = /^(crashes|pauses|clock jumps)/

const preemptionText = ({ preemption }: Struck): string => {
  switch (preemption._tag) {
    case "Yield":
      return "PREEMPTED: the others go first"
    case "Hold":
      return isEndless(preemption.steps)
        ? "HELD to the end of the run"
        : `HELD while others take ${preemption.steps} steps`
    case "Late":
      return `its timer fires ${Number(preemption.millis.toFixed(3))} ms late`
  }
}

/** Lines of a run before the oldest are dropped; a run that was shrunk has far fewer. */
const bound = 50_000

/** Keeps the lines of a run. */
export class Recorder {
  readonly #fibers: Fibers
  /** True with a given schedule, whose late timers are few. */
  readonly #marksLate: boolean
  readonly #operations = new Map<Seen, Array<Pending>>()
  #kept: Array<Kept> = []
  #dropped = 0
  #process = "main"
  #stepNumber = 0
  #millis = 0
  #isSilent = false
  /** The fiber of this step, unless it has suspended its operation. */
  #suspended: Seen | undefined = undefined

  constructor(fibers: Fibers, isGiven: boolean) {
    this.#fibers = fibers
    this.#marksLate = isGiven
    fibers.onEnd = (seen, exit) => this.event(endingText(exit), seen)
  }

  /** Called when a step begins. */
  step(process: string, step: number, millis: number): void {
    this.#flushStep()
    this.#process = process
    this.#stepNumber = step
    this.#millis = millis
    this.#isSilent = true
  }

  /** Called when a fiber is about to run an operation. */
  runs(seen: Seen): void {
    if (seen !== this.#suspended) this.#showPending()
    this.#suspended = seen
  }

  /** Called when the operation of a `yield*` begins. */
  begins(seen: Seen, operation: object, place: Place): void {
    if (!place.isProgram) return
    let pending = this.#operations.get(seen)
    if (pending === undefined) this.#operations.set(seen, (pending = []))
    // Operations that contain others have no lines.
    for (const outer of pending) outer.isShown = outer.isOuter = true
    const step = this.#stepNumber
    pending.push({ operation, place, step, isShown: false, isOuter: false })
    this.#suspended = seen
  }

  /** Called when the operation of a `yield*` has a result. */
  ends(seen: Seen, operation: object, value: unknown): void {
    const pending = this.#operations.get(seen) ?? []
    const index = pending.findIndex((one) => one.operation === operation)
    if (index === -1) return
    const [{ isOuter, isShown, place, step }] = pending.splice(index) as [Pending]
    const result = valueText(value)
    const isLong = step !== this.#stepNumber && !isOuter && !isSleep(place)
    if (isShown && result === "" && !isLong) return
    const ending = result !== "" ? ` → ${result}` : isShown ? " is done" : ""
    this.#put(place.operation, { seen, place, ending })
  }

  sleeps(process: string, millis: number, late = 0): void {
    const lateness = late === 0 ? "" : `, wakes ${Number(late.toFixed(3))} ms late`
    const seen = this.#fibers.running()
    const pending = seen && this.#operations.get(seen)?.at(-1)
    const isTold = pending === undefined || pending.isShown || isSleep(pending.place)
    const sleeps = `sleeps ${Number(millis.toFixed(3))} ms${lateness}`
    const [text, ending] = isTold ? [sleeps, ""] : [pending.place.operation, `: ${sleeps}`]
    this.#put(text, { process, ending, isMark: late > 0 && this.#marksLate })
  }

  /** Records a preemption. */
  preempted(struck: Struck): void {
    if (struck.preemption._tag === "Late") return
    const seen = struck.fiber
    if (struck.preemption._tag === "Yield") this.#suspended = undefined
    this.#isSilent = false
    const line = this.#line(preemptionText(struck), seen, struck.place)
    this.#keep({ ...line, isMark: true }, seen, struck)
  }

  /** Records an event; `to` is the other party of a message. */
  event(text: string, seen?: Seen, process?: string, to?: string): void {
    this.#put(text, { isMark: marking.test(text), seen, process, to })
  }

  /** Records a fault of a process's request to another party. */
  fault(text: string, kind: string, process: string, to: string): void {
    this.#put(text, { isMark: true, isFault: true, process, to, ending: ` (${kind})` })
  }

  /** Records an action of the simulator on a process. */
  simulator(process: string, text: string, millis: number): void {
    this.#flushStep()
    const isMark = marking.test(text)
    const line = { millis, step: this.#stepNumber, process, fiber: "", place: "", text }
    const isFault = striking.test(text)
    this.#keep({ ...line, ...(isMark && { isMark }), ...(isFault && { isFault }) })
  }

  /** The fibers that have not ended. */
  waiting(): Array<typeof WaitingFiber.Type> {
    return [...this.#fibers.all.values()]
      .filter(({ fiber }) => fiber.pollUnsafe() === undefined)
      .map(({ label, lastStep, place, process }) => ({
        fiber: label,
        process,
        lastStep,
        place: place === undefined ? "" : `at ${shortPlace(place)}: ${place.operation}`
      }))
  }

  /** All lines that are kept, and the number of those that were dropped before them. */
  lines(): { readonly dropped: number; readonly lines: ReadonlyArray<Line> } {
    this.#flushStep()
    const lines = this.#kept.map(({ line, seen, struck }): Line => {
      if (struck?.fiber === undefined) return { ...line, fiber: seen?.label ?? "" }
      const { fiber, place } = struck
      const at = place === undefined ? "" : shortPlace(place)
      return { ...line, process: fiber.process, fiber: fiber.label, place: at }
    })
    return { dropped: this.#dropped, lines }
  }

  #put(text: string, options: Details): void {
    const seen = options.seen ?? this.#fibers.running()
    const { ending = "", isFault = false, isMark = false, process, to } = options
    this.#isSilent = false
    const pending = (seen && this.#operations.get(seen)) ?? []
    const place = options.place ?? pending.at(-1)?.place ?? seen?.place
    // Lines of inner operations stand for it.
    for (const outer of pending) outer.isShown = true
    const line = this.#line(text, seen, place)
    const party = seen?.process ?? process ?? line.process
    const told: Line = {
      ...line,
      process: party,
      ...(isMark && { isMark }),
      ...(isFault && { isFault }),
      ...(ending !== "" && { ending }),
      ...(to !== undefined && { to })
    }
    this.#keep(told, seen)
  }

  #line(text: string, seen: Seen | undefined, place: Place | undefined): Line {
    const at = place === undefined ? "" : shortPlace(place)
    return {
      millis: this.#millis,
      step: this.#stepNumber,
      process: seen?.process ?? this.#process,
      fiber: "",
      place: at,
      text
    }
  }

  /** Shows an operation that was not suspended and is not done: its fiber waits in it. */
  #showPending(): void {
    const seen = this.#suspended
    this.#suspended = undefined
    const last = seen && this.#operations.get(seen)?.at(-1)
    if (last === undefined || last.isShown) return
    last.isShown = true
    this.#put(`${last.place.operation} ...`, { seen, place: last.place })
  }

  #flushStep(): void {
    this.#showPending()
    if (!this.#isSilent) return
    this.#isSilent = false
    const seen = this.#fibers.current
    const last = this.#kept.at(-1)
    const before = last?.seen === seen ? (last?.line.quietSteps ?? 0) : 0
    if (before > 0) this.#kept.pop()
    const quietSteps = before + 1
    const text = quietSteps === 1 ? "goes on" : `goes on (${quietSteps} steps)`
    this.#keep({ ...this.#line(text, seen, seen?.place), quietSteps }, seen)
  }

  #keep(line: Line, seen?: Seen, struck?: Struck): void {
    this.#kept.push({ line, seen, struck })
    if (this.#kept.length < 2 * bound) return
    this.#dropped += this.#kept.length - bound
    this.#kept = this.#kept.slice(-bound)
  }
}
