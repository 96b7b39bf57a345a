/**
 * The fibers of a run under observation: their names, and their places in the program.
 *
 * A fiber's path names the forks that led to it, so it is the same in another schedule.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Point } from "../../Preemption.ts"
import { type Place, placeOfError } from "./places.ts"

/** One fiber. */
export interface Seen {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly path: string
  readonly process: string
  label: string
  /** The span or function that started it; its label is the first one that it enters itself. */
  readonly inherited: string
  isNamed: boolean
  lastStep: number
  /** The last place of the program itself. */
  place: Place | undefined
  /** The key of the last place, libraries included; how often it was there; operations since. */
  key: string
  nth: number
  operation: number
  children: number
  readonly counts: Map<string, number>
}

/** A process's life. */
interface Life {
  readonly name: string
}

const nameOf = (fiber: Fiber.Fiber<unknown, unknown>): string => {
  const { span, stackFrame } = fiber.cache
  return stackFrame?.name ?? (span?._tag === "Span" ? span.name : "")
}

/** Names a fiber by the first function or span that it enters itself. */
const rename = (seen: Seen): void => {
  const name = nameOf(seen.fiber)
  if (name === "" || name === seen.inherited) return
  seen.label = `${seen.label.split(" ", 1)[0]} ${name}`
  seen.isNamed = true
}

/** Points that are kept of a run: more than shrinking can try. */
const mostPoints = 1_000

const nowhere: Point = { fiber: "", place: "", nth: 0, operation: 0 }

/** All fibers that ran, in the order in which they first did. */
export class Fibers {
  readonly all = new Map<number, Seen>()
  /** The fiber that ran last, or that scheduled the next task. */
  current: Seen | undefined = undefined
  /** Where the task that begins now was scheduled, until a fiber runs in it. */
  scheduledAt: Place | undefined = undefined
  /** Where each error was first seen. */
  readonly origins = new Map<unknown, Place | undefined>()
  /** Where a `yield*` of the program was about to begin, for one preemption there. */
  readonly points: Array<Point> = []
  onEnd: ((seen: Seen, exit: Exit.Exit<unknown, unknown>) => void) | undefined = undefined
  readonly #roots = new Set<Life>()
  readonly #lives = new Map<string, number>()

  /** Called when a fiber is about to run an operation. */
  saw(fiber: Fiber.Fiber<unknown, unknown>, life: Life, step: number): Seen {
    const seen = this.all.get(fiber.id) ?? this.#add(fiber, life)
    if (!seen.isNamed) rename(seen)
    seen.lastStep = step
    seen.operation++
    this.current = seen
    this.scheduledAt = undefined
    return seen
  }

  /** Called when the fiber begins or ends the operation of a `yield*`. */
  comes(fiber: Fiber.Fiber<unknown, unknown>, place: Place, begins: boolean): Seen | undefined {
    const seen = this.all.get(fiber.id)
    if (seen === undefined) return undefined
    if (place.isProgram) seen.place = place
    seen.key = place.key
    seen.nth = (seen.counts.get(place.key) ?? 0) + 1
    seen.operation = 0
    seen.counts.set(place.key, seen.nth)
    this.current = seen
    if (place.isProgram && begins && this.points.length < mostPoints) {
      this.points.push({ fiber: seen.path, place: place.key, nth: seen.nth, operation: 1 })
    }
    return seen
  }

  /** The running fiber; outside of all fibers, the one that scheduled the task. */
  running(): Seen | undefined {
    const fiber = Fiber.getCurrent()
    return (fiber && this.all.get(fiber.id)) ?? this.current
  }

  /** The place of the running fiber. */
  point(): Point {
    const seen = this.running()
    if (seen === undefined) return nowhere
    return { fiber: seen.path, place: seen.key, nth: seen.nth, operation: seen.operation }
  }

  #add(fiber: Fiber.Fiber<unknown, unknown>, life: Life): Seen {
    const path = this.#pathOf(fiber, life)
    const inherited = nameOf(fiber)
    const number = `#${this.all.size + 1}`
    const seen: Seen = {
      fiber,
      path,
      process: life.name,
      label: path === "main" ? `${number} main` : `${number} ${inherited}`.trim(),
      inherited,
      isNamed: path === "main",
      lastStep: 0,
      place: this.scheduledAt ?? this.#parentOf(fiber)?.place,
      key: "",
      nth: 0,
      operation: 0,
      children: 0,
      counts: new Map()
    }
    this.all.set(fiber.id, seen)
    fiber.addObserver((exit) => {
      if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) {
        const error = Cause.squash(exit.cause)
        if (!this.origins.has(error)) this.origins.set(error, placeOfError(error) ?? seen.place)
      }
      this.onEnd?.(seen, exit)
    })
    return seen
  }

  /** The parent by Effect's link; a detached fiber has none, and belongs to its starter. */
  #parentOf(fiber: Fiber.Fiber<unknown, unknown>): Seen | undefined {
    const linked: unknown = Reflect.get(fiber, "_parent")
    const isLinked = typeof linked === "object" && linked !== null && "id" in linked
    return (isLinked ? this.all.get(Number(linked.id)) : undefined) ?? this.current
  }

  #pathOf(fiber: Fiber.Fiber<unknown, unknown>, life: Life): string {
    if (!this.#roots.has(life)) {
      this.#roots.add(life)
      const nth = (this.#lives.get(life.name) ?? 0) + 1
      this.#lives.set(life.name, nth)
      return nth === 1 ? life.name : `${life.name}~${nth}`
    }
    const parent = this.#parentOf(fiber)
    return parent === undefined ? `${life.name}.0` : `${parent.path}.${++parent.children}`
  }
}
