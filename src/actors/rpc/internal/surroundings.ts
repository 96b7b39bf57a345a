/** What a connection instance of a client finds, and leaves behind. */
import type { Terms } from "../../link/Credits.ts"
import type { Loan, PoolShare } from "../../rdma/RegionPool.ts"
import type { ProgramName } from "./callMessages.ts"
import type { CallQueue } from "./callQueue.ts"
import type { Patience } from "./patience.ts"
import type { ReverseServing } from "./reverseServing.ts"

/** State of the client beside this connection instance. */
export interface Surroundings {
  readonly queue: CallQueue
  readonly terms: Terms
  readonly program: ProgramName
  readonly patience: Patience
  /** Whether calls that a responder without an incarnation has seen are sent to it again. */
  readonly trustsForeignCache: boolean
  readonly now: () => number
  /** Memory of the device that is in use. */
  readonly share: () => PoolShare
  /** Answers the responder's calls. */
  readonly reverse: ReverseServing
  /** Returns memory in the background. */
  readonly release: (loans: ReadonlyArray<Loan>) => void
}
