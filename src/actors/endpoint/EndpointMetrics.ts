/** Metrics of endpoints, over all NICs of the process. */
import * as Metric from "effect/Metric"

/** Endpoints that have an epoch, by state. */
export const endpoints = Metric.gauge("handfast_endpoints", {
  description: "Endpoints by their state"
})

/** Epochs that began. */
export const generations = Metric.counter("handfast_endpoint_generations_total", {
  description: "Epochs of endpoints that began",
  incremental: true
})

/** Epochs that ended, by reason. */
export const ended = Metric.counter("handfast_endpoint_ended_total", {
  description: "Epochs of endpoints that ended",
  incremental: true
})

const boundaries = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 10, 60]

/** Seconds from the beginning of an epoch until it was ready. */
export const opening = Metric.histogram("handfast_endpoint_opening_seconds", {
  description: "From the beginning of an epoch until it was ready",
  boundaries
})

/** Seconds at the gate: the local half is up, and it is not known whether the peer's is. */
export const gateWait = Metric.histogram("handfast_endpoint_gate_wait_seconds", {
  description: "From the local half being up until the peer was known to be",
  boundaries
})

/** Evicted endpoints whose queue pairs are still being drained. */
export const retiring = Metric.gauge("handfast_endpoints_retiring", {
  description: "Evicted endpoints that are still draining"
})
