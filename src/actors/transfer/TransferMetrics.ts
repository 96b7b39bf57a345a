/**
 * Metrics of transfer engines. Cumulative, over all engines of the process. Counted by the batch,
 * never by the slice.
 */
import * as Metric from "effect/Metric"

/** Bytes that moved; `direction` is `write` or `read`. */
export const movedBytes = Metric.counter("handfast_transfer_moved_bytes_total", {
  description: "Bytes moved to and from peers",
  incremental: true
})

/** Slices that have moved. */
export const slices = Metric.counter("handfast_transfer_slices_total", {
  description: "Slices that moved",
  incremental: true
})

/** Slices that were posted and failed, and are tried again while they have attempts. */
export const failedSlices = Metric.counter("handfast_transfer_failed_slices_total", {
  description: "Slices that were posted and failed",
  incremental: true
})

/** Transfers that ended; `outcome` is `moved` or the reason of the failure. */
export const transfers = Metric.counter("handfast_transfer_ended_total", {
  description: "Transfers that ended",
  incremental: true
})

/** Attempts to open a link; `outcome` is `ready` or `failed`. */
export const opens = Metric.counter("handfast_transfer_opens_total", {
  description: "Attempts to open a link",
  incremental: true
})

/**
 * Links that were lost with work on them; `blame` is the cause: local NIC, peer, rail or request.
 */
export const lostLinks = Metric.counter("handfast_transfer_lost_links_total", {
  description: "Links lost under work",
  incremental: true
})

/** Circuit breakers that opened: peers that were given up. */
export const outages = Metric.counter("handfast_transfer_outages_total", {
  description: "Peers given up after an outage",
  incremental: true
})
