/** Metrics of the kernel. Cumulative, across all actors of the process, labelled by behavior. */
import * as Metric from "effect/Metric"

/** Results of an older epoch or generation that came back and were dropped. */
export const staleResults = Metric.counter("handfast_actor_stale_results_total", {
  description: "Signals of an older epoch, dropped",
  incremental: true
})

/** Messages sent to a full mailbox under the policy `"drop"`, or stashed in a full stash. */
export const droppedMessages = Metric.counter("handfast_actor_dropped_messages_total", {
  description: "Messages dropped at a full mailbox or stash",
  incremental: true
})

/** Commands that were refused because deciding them threw: see `onDefect` of a behavior. */
export const refusedMessages = Metric.counter("handfast_actor_refused_messages_total", {
  description: "Commands refused because deciding them threw",
  incremental: true
})

/** Generations that began, the first ones included. */
export const recoveries = Metric.counter("handfast_actor_recoveries_total", {
  description: "Recoveries begun",
  incremental: true
})

/** Generations that ended by a defect, a failed effect or a failed append. */
export const crashes = Metric.counter("handfast_actor_crashes_total", {
  description: "Generations that crashed",
  incremental: true
})

/** Snapshots that could not be stored. The actor goes on: its events are enough. */
export const snapshotFailures = Metric.counter("handfast_actor_snapshot_failures_total", {
  description: "Snapshots that could not be stored",
  incremental: true
})
