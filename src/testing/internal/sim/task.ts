/** What runs in a simulation, and for which process. */
import type { ProcessFault } from "../../FaultPlan.ts"

/** A simulated process, as far as the order of tasks needs to know it. */
export interface Owner {
  readonly name: string
  enqueue(run: () => void, lane: number): void
}

/** Something runnable. */
export interface Task<P extends Owner = Owner> {
  readonly run: () => void
  /** The dispatcher it came through: in effect, the fiber. */
  readonly lane: number
  readonly owner: P
}

/** What a process lets the simulator do to it. */
export interface Controls {
  /** Whether the fault found something to strike. */
  readonly inject: (fault: ProcessFault) => boolean
  readonly heal: () => void
  readonly isPaused: () => boolean
}
