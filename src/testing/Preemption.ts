/**
 * Deviations of a schedule from the default order, in which the task that has waited longest runs
 * next, no fiber yields by force, and timers fire on time.
 *
 * A schedule is a short list of plain values: it can be shrunk, printed, saved and replayed. A
 * point is named by the fiber and by the text of its source line, so that it is still found after
 * lines were added elsewhere in the program.
 */
import * as Schema from "effect/Schema"

/** A point in the execution of one fiber. */
export const Point = Schema.Struct({
  /** The process, then for each fork on the way to the fiber its number: `main.2.1`. */
  fiber: Schema.String,
  /** The file and the source text of the last `yield*`; empty before the first one. */
  place: Schema.String,
  /** How often the fiber had reached this text, counted at its begin and at its end. */
  nth: Schema.Int,
  /** Operations of the fiber since then. */
  operation: Schema.Int
})

export type Point = typeof Point.Type

/** The fiber lets all others that are runnable go first. */
export const Yield = Schema.TaggedStruct("Yield", { at: Point })

/**
 * The task that the fiber scheduled at this point waits for so many steps of others, once its turn
 * comes.
 */
export const Hold = Schema.TaggedStruct("Hold", {
  at: Point,
  /** Which of the tasks that were scheduled at this point, from 0. */
  task: Schema.Int,
  steps: Schema.Int
})

/** The timer that the fiber set at this point fires late. */
export const Late = Schema.TaggedStruct("Late", { at: Point, millis: Schema.Finite })

/** Every way to leave the default order. */
export const Preemption = Schema.Union([Yield, Hold, Late])

export type Preemption = typeof Preemption.Type

/** The preemptions of one run. */
export const Schedule = Schema.Array(Preemption)

export type Schedule = typeof Schedule.Type
