/** How an engine works. Each limit has a default with its reason. Durations are milliseconds. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { checkRanges, millis, type Range, whole } from "../../../native/io/settingRanges.ts"
import type { SettingsRefused } from "../../../native/io/PoolError.ts"
import * as Segment from "../../rdma/Segment.ts"
import { Backoff, type BackoffSettings } from "../../link/Backoff.ts"
import { FaultWindow } from "../../link/FaultWindow.ts"
import type * as Job from "./job.ts"

/** All settings, as they hold. */
export interface Settings extends Job.Settings {
  /** So many faults within `faultsWithin` pause a card or a rail. */
  readonly faults: number
  readonly faultsWithin: number
  readonly pause: number
  /** The first wait after an attempt that moved nothing; it grows up to `longestWait`. */
  readonly firstWait: number
  readonly longestWait: number
  /** How long work waits for a peer that cannot be reached. */
  readonly patience: number
  /** How long a peer that was given up is not tried again. */
  readonly coolDown: number
  /** Transfers with one peer that are not over. */
  readonly transfers: number
  /** Operations of one transfer. */
  readonly operations: number
  /** Peers that are remembered. */
  readonly peers: number
  /** Bytes in which peers are told of memory; what would be more is refused at `register`. */
  readonly describedBytes: number
  /** Slices that one way posts before the next one of the card has its turn. */
  readonly quantum: number
  /** A link on which nothing ends for so long, with work posted, is given up. */
  readonly stall: number
  /** For a link to be opened, and for the directory to answer. */
  readonly openWithin: number
  /** A card whose attempt takes longer tries its next rail too. */
  readonly hedge: number
  /** What a transfer that was stopped has posted may take so long; then its links are given up. */
  readonly drain: number
}

/** What the settings must be. */
const ranges: { readonly [K in keyof Settings]: Range } = {
  sliceBytes: whole(1),
  attempts: whole(1),
  beginnings: whole(1),
  faults: whole(1),
  faultsWithin: millis(0),
  pause: millis(0),
  // Without any wait, attempts would take the whole processor.
  firstWait: millis(1),
  longestWait: millis(1),
  patience: millis(0),
  coolDown: millis(0),
  transfers: whole(1),
  operations: whole(1),
  peers: whole(1),
  describedBytes: whole(0),
  quantum: whole(1),
  stall: millis(1),
  openWithin: millis(0),
  hedge: millis(0),
  drain: millis(0)
}

export const defaults: Settings = {
  // What peers of this dialect use; a tail of up to a quarter of it joins the last slice.
  sliceBytes: 65_536,
  // As the original; only real attempts count here.
  attempts: 9,
  // Many more than a peer that is only restarted needs; it ends what would go on for ever.
  beginnings: 64,
  // Five within five seconds are no accident; half a minute is what a reboot of a switch takes.
  faults: 5,
  faultsWithin: 5_000,
  pause: 30_000,
  // About the time that a process takes to come back; the longest wait keeps the first transfer
  // after an outage from waiting long.
  firstWait: 50,
  longestWait: 5_000,
  // Two attempts that nobody answers; it may be exceeded by one wait between two of them.
  patience: 30_000,
  // No shorter than the longest wait of a rail, so that an attempt is due when it is over.
  coolDown: 5_000,
  transfers: 4_096,
  // A number for each is kept while the transfer lasts.
  operations: 65_536,
  peers: 65_536,
  // What Mooncake takes in one frame, less room for the cards.
  describedBytes: Segment.buffersLimit,
  // A megabyte of slices: coarse enough to be cheap, fine enough for others to get in between.
  quantum: 16,
  // Longer than a card repeats a message, which is about half a second.
  stall: 10_000,
  // A handshake has ten seconds; this is only for one that forgets it.
  openWithin: 15_000,
  // Many times a handshake on one network.
  hedge: 250,
  // Longer than a card repeats a message.
  drain: 1_000
}

/** The waits between attempts. */
export const backoffOf = ({
  firstWait: firstMs,
  longestWait: longestMs
}: Settings): BackoffSettings => ({ firstMs, longestMs })

/** Makes what attempts are paced by. */
export const mechanismsOf = (settings: Settings) =>
  Effect.map(Random.Random, (random) => {
    const { faults, faultsWithin: withinMs, pause: pauseMs } = settings
    return {
      backoff: () => new Backoff(backoffOf(settings), () => random.nextDoubleUnsafe()),
      faultWindow: () => new FaultWindow({ faults, withinMs, pauseMs })
    }
  })

/** The settings of an engine, with the defaults of those that are not given. */
export const settingsOf = (given: Partial<Settings>): Effect.Effect<Settings, SettingsRefused> =>
  Effect.as(checkRanges(given, ranges), { ...defaults, ...given })
