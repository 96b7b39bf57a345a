/**
 * Metrics of lanes and their pools, updated ten times a second and when a pool stops. Counters are
 * cumulative and, like the gauges of open lanes, sums over all pools of the process.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { PoolStats } from "./internal/laneCounts.ts"

const counter = (name: string, description: string) =>
  Metric.counter(`handfast_lane_${name}`, { description, incremental: true })

const gauge = (name: string, description: string) =>
  Metric.gauge(`handfast_lane_${name}`, { description })

/** Connections that were opened, adopted or accepted. */
export const opened = counter("opened_total", "Lanes opened")

/** Whole frames that reached the main thread. */
export const framesReceived = counter("frames_received_total", "Frames handed to users")

/** Bytes of these frames. */
export const bytesReceived = counter("received_bytes_total", "Bytes handed to users")

/** Bytes that the kernel has taken. */
export const bytesSent = counter("sent_bytes_total", "Bytes that left for the kernel")

/** Open jobs done on the main thread because no worker had room. */
export const fallbacks = counter("fallbacks_total", "Open jobs that found no room in a worker")

/** Results of an older lane in the same slot, which were dropped. */
export const stale = counter("stale_results_total", "Records of an older lane, dropped")

/** Worker threads that crashed. */
export const workersCrashed = counter("workers_crashed_total", "Workers that crashed")

/** Lanes that are open. */
export const lanes = gauge("lanes", "Open lanes")

/** Workers that take new lanes. */
export const workers = gauge("workers", "Active workers")

/** The most bytes that any lane had unsent. */
export const sendHighWater = gauge("send_high_water_bytes", "Most bytes unsent in one lane")

/** The most bytes that any lane had read and its user not taken. */
export const receiveHighWater = gauge("receive_high_water_bytes", "Most bytes untaken in one lane")

/** Counts that are added up over time and over pools. */
const sums = {
  lanesOpened: opened,
  framesReceived,
  bytesReceived,
  bytesSent,
  fallbacks,
  stale,
  workersCrashed,
  lanes,
  workers
}

/** The highest of all pools counts. */
const peaks = { sendHighWater, receiveHighWater }

const keysOf = <K extends string>(record: Record<K, unknown>): ReadonlyArray<K> =>
  Object.keys(record) as Array<K>

/** Follows the counts of one pool. Private: `IoPool` calls what it returns. */
export const follow = (context: Context.Context<never>) => {
  const before = new Map<keyof typeof sums, number>()
  return (stats: PoolStats): void => {
    for (const key of keysOf(sums)) {
      const added = stats[key] - (before.get(key) ?? 0)
      before.set(key, stats[key])
      if (added !== 0) sums[key].modifyUnsafe(added, context)
    }
    for (const key of keysOf(peaks)) {
      const peak = peaks[key]
      if (stats[key] > peak.valueUnsafe(context).value) peak.updateUnsafe(stats[key], context)
    }
  }
}
