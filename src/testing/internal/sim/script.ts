/**
 * The schedule of a run as data. Recorded while the seed draws it, or given: then nothing is drawn,
 * and the run differs from the default order by the given preemptions only.
 */
import type { Point, Preemption, Schedule } from "../../Preemption.ts"
import type { Fibers, Seen } from "./fibers.ts"
import type { Place } from "./places.ts"

/** A preemption as it took place: the fiber is known once it runs. */
export interface Struck {
  readonly preemption: Preemption
  fiber: Seen | undefined
  place: Place | undefined
}

/** A runnable task: its scheduler, its order, and its hold. */
interface Queued {
  readonly by: Seen | undefined
  readonly place: Place | undefined
  readonly at: Point
  readonly task: number
  readonly order: number
  readonly hold: Struck | undefined
  /** The step at which its turn was given to another task. */
  overtakenAt: number | undefined
}

const pointKey = ({ fiber, nth, operation, place }: Point): string =>
  `${fiber} ${nth} ${operation} ${place}`

const keyOf = (preemption: Preemption): string => {
  const { _tag, at } = preemption
  return `${_tag} ${_tag === "Hold" ? preemption.task : 0} ${pointKey(at)}`
}

/** A preemption of a task whose fiber is not known. */
const anonymous = (preemption: Preemption): Struck => ({
  preemption,
  fiber: undefined,
  place: undefined
})

/** Held until the end of the run. */
const forever = 2 ** 30

/** Whether a hold lasts to the end of any run; shrinking may have halved it some times. */
export const isEndless = (steps: number): boolean => steps >= forever / 1024

const holdOf = ({ at, overtakenAt, task }: Queued, step: number): Preemption => ({
  _tag: "Hold",
  at,
  task,
  steps: step - overtakenAt!
})

/** The schedule of one run. */
export class Script<Task extends object> {
  readonly fibers: Fibers
  /** Preemptions that took place, in order. */
  readonly struck: Array<Struck> = []
  /** Called with each preemption as it takes place. */
  onStrike: ((struck: Struck) => void) | undefined = undefined
  readonly #given: Map<string, Preemption> | undefined
  readonly #queue = new Map<Task, Queued>()
  readonly #timers = new Map<object, Seen | undefined>()
  #order = 0
  readonly #tasksAt = new Map<string, number>()
  #released: Struck | undefined = undefined

  constructor(fibers: Fibers, given: Schedule | undefined) {
    this.fibers = fibers
    this.#given = given && new Map(given.map((preemption) => [keyOf(preemption), preemption]))
  }

  /** Whether the current fiber yields now; `drawn` is the seed's choice. */
  yields(drawn: boolean): boolean {
    const at = this.fibers.point()
    if (this.#given === undefined ? drawn : this.#given.has(`Yield 0 ${pointKey(at)}`)) {
      this.#strike({ _tag: "Yield", at })
      return true
    }
    return false
  }

  /** Milliseconds by which a timer of the current fiber is late. */
  late(drawn: number): number {
    const at = this.fibers.point()
    const given = this.#given?.get(`Late 0 ${pointKey(at)}`)
    const millis = this.#given === undefined ? drawn : given?._tag === "Late" ? given.millis : 0
    if (millis > 0) this.#strike({ _tag: "Late", at, millis })
    return millis
  }

  /** Called when the running fiber sets a timer. */
  sets(timer: object): void {
    this.#timers.set(timer, this.fibers.running())
  }

  /** Called when a timer fires: its fiber is the scheduler of the resulting tasks. */
  fires(timer: object): void {
    this.fibers.current = this.#timers.get(timer)
    this.#timers.delete(timer)
  }

  /** Queues a runnable task. One whose process was paused comes here a second time. */
  queued(task: Task): void {
    const before = this.#queue.get(task)
    if (before?.overtakenAt !== undefined && this.#given === undefined) {
      this.struck.push(anonymous(holdOf(before, forever)))
    }
    const at = this.fibers.point()
    const here = pointKey(at)
    const number = this.#tasksAt.get(here) ?? 0
    this.#tasksAt.set(here, number + 1)
    const preemption = this.#given?.get(`Hold ${number} ${here}`)
    const by = this.fibers.running()
    this.#queue.set(task, {
      by,
      place: by?.place,
      at,
      task: number,
      order: this.#order++,
      hold: preemption && anonymous(preemption),
      overtakenAt: undefined
    })
  }

  /** The index of the task to run next; `drawn` is the seed's choice. */
  choose(tasks: ReadonlyArray<Task>, step: number, drawn: () => number): number {
    const index = this.#given === undefined ? drawn() : this.#inOrder(tasks, step)
    const chosen = this.#queue.get(tasks[index]!)!
    for (const task of tasks) {
      const other = this.#queue.get(task)!
      if (other.order >= chosen.order || other.overtakenAt !== undefined) continue
      other.overtakenAt = step
      if (other.hold !== undefined) this.#tell(other.hold)
    }
    return index
  }

  /** Called when a step begins, which runs this task. */
  begins(task: Task, step: number): void {
    const queued = this.#queue.get(task)
    this.#queue.delete(task)
    this.fibers.current = queued?.by
    this.fibers.scheduledAt = queued?.place
    this.#released = queued?.hold
    if (queued?.overtakenAt === undefined || this.#given !== undefined) return
    this.struck.push(anonymous(holdOf(queued, step)))
  }

  /**
   * Called when the current fiber runs an operation: tasks held before this step were held from it.
   */
  runs(): void {
    if (this.#released === undefined) return
    this.#released.fiber = this.fibers.current
    this.#released.place = this.fibers.current?.place
    this.#released = undefined
  }

  /** The preemptions of the whole run. */
  schedule(): Schedule {
    const left: Array<Preemption> = []
    if (this.#given === undefined) {
      for (const queued of this.#queue.values()) {
        if (queued.overtakenAt !== undefined) left.push(holdOf(queued, forever))
      }
    }
    return [...this.struck.map(({ preemption }) => preemption), ...left]
  }

  /** The index of the task that has waited longest, unless it is held or a held one is due. */
  #inOrder(tasks: ReadonlyArray<Task>, step: number): number {
    let [due, dueAt] = [-1, Infinity]
    let [oldest, order] = [-1, Infinity]
    for (const [index, task] of tasks.entries()) {
      const queued = this.#queue.get(task)!
      const hold = queued.hold?.preemption
      if (hold?._tag === "Hold") {
        const at = (queued.overtakenAt ?? step) + hold.steps
        if (at < dueAt) [due, dueAt] = [index, at]
      } else if (queued.order < order) {
        ;[oldest, order] = [index, queued.order]
      }
    }
    return oldest === -1 || dueAt <= step ? due : oldest
  }

  #strike(preemption: Preemption): void {
    const fiber = this.fibers.running()
    this.#tell({ preemption, fiber, place: fiber?.place })
  }

  #tell(struck: Struck): void {
    this.struck.push(struck)
    this.onStrike?.(struck)
  }
}
