/** The parts that the modules of an engine share: settings, time, slices, and background fibers. */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { EpochSource } from "../../../schema/Epoch.ts"
import type { Directory } from "../../rdma/Directory.ts"
import type { Backoff } from "../../link/Backoff.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { Links } from "../../endpoint/Links.ts"
import type { RailScheduler } from "./rail.ts"
import type { ResolvedSettings } from "./settings.ts"
import type { SlicePool } from "./slicing.ts"

export interface EngineContext {
  readonly settings: ResolvedSettings
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
  /** Runs an effect in a fiber of its own, which ends with the engine. */
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Makes the backoff of a kind of attempts. */
  readonly backoff: () => Backoff
  /** Makes the fault window of a NIC or of a rail. */
  readonly faultWindow: () => FaultWindow
  readonly pool: SlicePool
  /** One for each local NIC, in their order. */
  readonly schedulers: ReadonlyArray<RailScheduler>
  /** Notifies all peers that a local NIC is gone, and its links with it. */
  readonly onNicLost: (local: number) => void
  readonly links: Links["Service"]
  readonly directory: Directory["Service"]
  readonly epochs: EpochSource
  readonly context: Context.Context<never>
}
