/** Tasks of a simulation, and their processes. */
import type { ProcessFault } from "../../FaultPlan.ts"

/** A simulated process as the owner of tasks. */
export interface Owner {
  readonly name: string
  enqueue(run: () => void, lane: number): void
}

/** A runnable task. */
export interface Task<P extends Owner = Owner> {
  readonly run: () => void
  /** The dispatcher that scheduled it: in effect, the fiber. */
  readonly lane: number
  readonly owner: P
}

/** Operations of the simulator on a process. */
export interface Controls {
  /** Whether the fault had an effect. */
  readonly inject: (fault: ProcessFault) => boolean
  readonly heal: () => void
  readonly isPaused: () => boolean
}
