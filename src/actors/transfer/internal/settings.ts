/** Settings of an engine: their defaults, their ranges, and the mechanisms that they configure. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { checkRanges, millis, type Range, whole } from "../../../native/io/settingRanges.ts"
import type { SettingsRefused } from "../../../native/io/PoolError.ts"
import * as Segment from "../../rdma/Segment.ts"
import { Backoff, type BackoffSettings } from "../../link/Backoff.ts"
import { FaultWindow } from "../../link/FaultWindow.ts"

/** The limits of an engine. */
export interface Settings {
  /**
   * Bytes of a slice; the last one of an operation may be a quarter longer. Default 64 KiB, as
   * peers of this dialect use.
   */
  readonly sliceBytes?: number
  /**
   * Attempts of one slice, without those that the end of a link interrupted. Default 9, as
   * Mooncake.
   */
  readonly attempts?: number
  /**
   * Beginnings of a transfer without a deadline, if the peer replaces its memory. Default 64: many
   * more than a peer that is only restarted needs; it ends a transfer that would go on for ever.
   */
  readonly beginnings?: number
  /** Faults within `faultsWithinMs` that pause a NIC or a rail. Default 5, which is no accident. */
  readonly faults?: number
  /** Milliseconds for which a fault counts. Default 5 s: five within it have one cause. */
  readonly faultsWithinMs?: number
  /** Milliseconds of a pause after faults. Default 30 s, the reboot time of a switch. */
  readonly pauseMs?: number
  /**
   * Milliseconds until a rail is tried again after an attempt that moved nothing; they grow up to
   * `longestWaitMs`. Default 50 ms, about the time that a process takes to come back.
   */
  readonly firstWaitMs?: number
  /**
   * Milliseconds of the longest wait between two attempts. Default 5 s: the first transfer after an
   * outage does not wait long.
   */
  readonly longestWaitMs?: number
  /**
   * Milliseconds that work waits for a peer that cannot be reached; one wait between two attempts
   * may exceed them. Default 30 s: two attempts without an answer.
   */
  readonly unreachableAfterMs?: number
  /**
   * Milliseconds for which a peer that was given up is not tried again. Default 5 s, no shorter
   * than `longestWaitMs`, so that an attempt is due when they are over.
   */
  readonly coolDownMs?: number
  /** Transfers with one peer that are not over. Default 4096: each is a few numbers in a list. */
  readonly transfers?: number
  /** Operations of one transfer. Default 65,536: a number for each is kept while it lasts. */
  readonly operations?: number
  /** Peers that are remembered. Default 65,536: one that is forgotten costs a lookup. */
  readonly peers?: number
  /**
   * Bytes of the description of memory for peers; `register` refuses memory beyond them. Default:
   * the size of Mooncake's frame, less room for the NICs.
   */
  readonly describedBytes?: number
  /**
   * Slices that one rail posts before the next one of the NIC has its turn. Default 16, a mebibyte:
   * enough to be cheap, few enough to share the NIC.
   */
  readonly quantum?: number
  /**
   * Milliseconds without a completion after which a link with posted work is given up. Default
   * 10 s, longer than a NIC repeats a message, which is about half a second.
   */
  readonly stallAfterMs?: number
  /**
   * Milliseconds for a link to be opened, and for the directory to answer. Default 15 s: a
   * handshake has ten, so this only ends one that hangs.
   */
  readonly openWithinMs?: number
  /**
   * Milliseconds after which a NIC whose attempt is not over also tries its next rail. Default 250
   * ms, many times a handshake on one network.
   */
  readonly hedgeAfterMs?: number
  /**
   * Milliseconds for the posted work of a stopped transfer to end; then its links are given up.
   * Default 1 s, longer than a NIC repeats a message.
   */
  readonly drainWithinMs?: number
}

/** All settings, each with its value. */
export type ResolvedSettings = Required<Settings>

/** The range of each setting. */
const ranges: { readonly [K in keyof Settings]: Range } = {
  sliceBytes: whole(1),
  attempts: whole(1),
  beginnings: whole(1),
  faults: whole(1),
  faultsWithinMs: millis(0),
  pauseMs: millis(0),
  // Without a wait, attempts would use the whole processor.
  firstWaitMs: millis(1),
  longestWaitMs: millis(1),
  unreachableAfterMs: millis(0),
  coolDownMs: millis(0),
  transfers: whole(1),
  operations: whole(1),
  peers: whole(1),
  describedBytes: whole(0),
  quantum: whole(1),
  stallAfterMs: millis(1),
  openWithinMs: millis(0),
  hedgeAfterMs: millis(0),
  drainWithinMs: millis(0)
}

/** The defaults. The JSDoc of each setting gives the reason. */
export const defaults: ResolvedSettings = {
  sliceBytes: 65_536,
  attempts: 9,
  beginnings: 64,
  faults: 5,
  faultsWithinMs: 5_000,
  pauseMs: 30_000,
  firstWaitMs: 50,
  longestWaitMs: 5_000,
  unreachableAfterMs: 30_000,
  coolDownMs: 5_000,
  transfers: 4_096,
  operations: 65_536,
  peers: 65_536,
  describedBytes: Segment.buffersLimit,
  quantum: 16,
  stallAfterMs: 10_000,
  openWithinMs: 15_000,
  hedgeAfterMs: 250,
  drainWithinMs: 1_000
}

/** The waits between attempts. */
export const backoffOf = ({
  firstWaitMs: firstMs,
  longestWaitMs: longestMs
}: ResolvedSettings): BackoffSettings => ({ firstMs, longestMs })

/** Makes the mechanisms that pace attempts. */
export const mechanismsOf = (settings: ResolvedSettings) =>
  Effect.map(Random.Random, (random) => {
    const { faults, faultsWithinMs: withinMs, pauseMs } = settings
    return {
      backoff: () => new Backoff(backoffOf(settings), () => random.nextDoubleUnsafe()),
      faultWindow: () => new FaultWindow({ faults, withinMs, pauseMs })
    }
  })

/** The settings of an engine, with the defaults of those that are not given. */
export const settingsOf = (given: Settings): Effect.Effect<ResolvedSettings, SettingsRefused> =>
  Effect.as(checkRanges(given, ranges), { ...defaults, ...given })
