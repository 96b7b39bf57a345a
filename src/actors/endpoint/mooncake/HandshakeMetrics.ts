/** Metrics of handshake servers. Cumulative, over all servers of the process. */
import * as Metric from "effect/Metric"

/**
 * Connections that ended, by outcome:
 *
 * - `answered`: with a reply.
 * - `refused`: with a rejection, or at the limit of connections.
 * - `expired`: by the deadline.
 * - `hostile`: the request could not be read.
 * - `gone`: the peer closed before it was answered.
 * - `failed`: by a defect of this side.
 */
export const connections = Metric.counter("handfast_handshake_connections_total", {
  description: "Connections to the handshake port that ended",
  incremental: true
})

/** Seconds from the accepted connection to its answer. */
export const duration = Metric.histogram("handfast_handshake_duration_seconds", {
  description: "From a connection to its answer",
  boundaries: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5]
})
