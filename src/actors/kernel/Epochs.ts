/** Draws epochs and drops results of older ones. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { type Epoch, EpochSource } from "../../schema/Epoch.ts"
import { staleResults } from "./Metrics.ts"

/** Source of this process's epochs. A simulation gives one to each simulated process. */
export const Epochs = Context.Reference<EpochSource>("handfast/actors/Epochs", {
  defaultValue: () => new EpochSource(crypto.getRandomValues(new Uint32Array(1))[0] ?? 0)
})

/** Drops a late result, counted under its target's name, and traced. */
export const dropUnsafe = (
  context: Context.Context<never>,
  late: { readonly owner: string; readonly what: string; readonly epoch: Epoch }
): void => {
  Metric.withAttributes(staleResults, { owner: late.owner, what: late.what }).updateUnsafe(
    1,
    context
  )
  Effect.runForkWith(context)(
    Effect.logTrace("stale result dropped").pipe(Effect.annotateLogs(late))
  )
}

/** Runs an effect on a result unless the result belongs to an older epoch than the current one. */
export const fence =
  (late: { readonly owner: string; readonly what: string; readonly epoch: Epoch }) =>
  <A, E, R>(current: Epoch, effect: Effect.Effect<A, E, R>): Effect.Effect<A | void, E, R> =>
    late.epoch === current
      ? effect
      : Effect.contextWith((context: Context.Context<never>) =>
          Effect.sync(() => dropUnsafe(context, late))
        )
