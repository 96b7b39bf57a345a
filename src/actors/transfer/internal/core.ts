/** What the parts of an engine share: settings, time, slices, counts, and a place for effects. */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { EpochSource } from "../../../schema/Epoch.ts"
import type { Directory } from "../../rdma/Directory.ts"
import type { Backoff } from "../../link/Backoff.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"
import type { Links } from "../../endpoint/Links.ts"
import type { Peer } from "./peer.ts"
import type { Pump } from "./nicScheduler.ts"
import type { ResolvedSettings } from "./settings.ts"
import type { SlicePool } from "./slice.ts"

export interface Core {
  readonly settings: ResolvedSettings
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
  /** Runs an effect beside all others, as long as the engine lasts. */
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Makes the backoff of a kind of attempts. */
  readonly backoff: () => Backoff
  /** Makes the faults of a card or of a rail. */
  readonly faultWindow: () => FaultWindow
  readonly pool: SlicePool
  readonly pumps: ReadonlyArray<Pump>
  readonly peers: ReadonlyMap<string, Peer>
  readonly links: Links["Service"]
  readonly directory: Directory["Service"]
  readonly epochs: EpochSource
  readonly context: Context.Context<never>
}
