/**
 * What the engine counts. Cumulative, over all engines of the process. Counted by the batch, never
 * by the slice.
 */
import * as Metric from "effect/Metric"

/** Bytes that moved; `direction` is `write` or `read`. */
export const movedBytes = Metric.counter("handfast_transfer_moved_bytes_total", {
  description: "Octets moved to and from peers",
  incremental: true
})

/** Slices that ended well. */
export const slices = Metric.counter("handfast_transfer_slices_total", {
  description: "Slices that ended well",
  incremental: true
})

/** Slices that were posted and failed, and are tried again if they may. */
export const failedSlices = Metric.counter("handfast_transfer_failed_slices_total", {
  description: "Slices posted in vain",
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

/** Links that were lost with work on them; `blame` says whose fault it was. */
export const lostLinks = Metric.counter("handfast_transfer_lost_links_total", {
  description: "Links lost under work",
  incremental: true
})

/** Circuit breakers that opened: peers that were given up. */
export const outages = Metric.counter("handfast_transfer_outages_total", {
  description: "Peers given up after an outage",
  incremental: true
})
