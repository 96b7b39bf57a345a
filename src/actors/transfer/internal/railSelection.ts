/**
 * Selects rails: pairs of a local and a remote NIC. Ranks them, assigns the blame for failures, and
 * decides when a rail may be tried again. Pure: time is a value.
 *
 * It does not assume that every NIC reaches every other, but learns it: a rail that failed last
 * ranks last. Among the others, rails to a NIC near to the memory come first, and then rails that
 * have moved data before untried ones.
 */
import type { Status } from "../../../native/verbs/Completion.ts"
import type { Backoff } from "../../link/Backoff.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"

/** Growth after an attempt without work: it waits at most half of the time of an outage. */
const reopened = 1.5
/** Growth after a failure under work. Attempts are few: together they must last some seconds. */
const retried = 2

/** The cause of a completion with an error; `none` if it only shows that its link ended. */
export type Blame = "none" | "request" | "local" | "peer" | "rail"

const blames: Readonly<Record<Status, Blame>> = {
  success: "none",
  flushed: "none",
  // The request names memory that is not there: no other rail would do better.
  "local-protection": "request",
  "remote-access": "request",
  "local-length": "local",
  "local-operation": "local",
  fatal: "local",
  "remote-invalid": "peer",
  "remote-operation": "peer",
  "retry-exceeded": "rail",
  "rnr-retry-exceeded": "rail"
}

export const blameOf = (status: Status): Blame => blames[status]

/** It has moved data; it was not tried; or it failed last. */
export type RailStatus = "proven" | "untried" | "failed"

/** A rail as selection sees it. */
export class RailCandidate {
  /** The indexes of the NICs. */
  readonly local: number
  readonly remote: number
  /** Whether both NICs have one name, and so are likely to be on one network. */
  readonly isPreferred: boolean
  readonly health: FaultWindow
  readonly #backoff: Backoff
  #status: RailStatus = "untried"
  #notBefore = -Infinity

  constructor(
    ends: {
      readonly local: number
      readonly remote: number
      readonly isPreferred: boolean
    },
    health: FaultWindow,
    backoff: Backoff
  ) {
    this.local = ends.local
    this.remote = ends.remote
    this.isPreferred = ends.isPreferred
    this.health = health
    this.#backoff = backoff
  }

  get status(): RailStatus {
    return this.#status
  }

  /** The time from which on it may be opened. */
  get notBefore(): number {
    return this.#notBefore
  }

  /** Only data that has arrived shows that a rail works. */
  moved(): void {
    this.#status = "proven"
    this.#backoff.proven()
    this.#notBefore = -Infinity
  }

  /** Records that an attempt failed: a link that was not opened, or that has ended. */
  failed(now: number, isUnreachable: boolean): void {
    // One end of a link may have many reasons; a second one before anything moved marks the rail.
    if (isUnreachable || this.#backoff.attempts > 0) this.#status = "failed"
    this.#notBefore = now + this.#backoff.next(isUnreachable ? reopened : retried)
  }
}

/** The state of the NICs, and of the other rails to the peer. */
export interface RankingInput {
  readonly now: number
  readonly localHealth: (local: number) => FaultWindow
  readonly remoteHealth: (remote: number) => FaultWindow
  /** Rails to that remote NIC that are open or being opened. */
  readonly load: (remote: number) => number
  /** Distance of that remote NIC from the memory of the waiting work. */
  readonly distance: (remote: number) => number
}

/** More than the longest distance. */
const failedLast = 6

/** Orders by distance, then by status; failed rails come last. */
const railScore = ({ remote, status }: RailCandidate, { distance }: RankingInput): number =>
  status === "failed" ? failedLast : 2 * distance(remote) + (status === "proven" ? 0 : 1)

const isPaused = (rail: RailCandidate, { localHealth, now, remoteHealth }: RankingInput): boolean =>
  rail.health.isPaused(now) ||
  localHealth(rail.local).isPaused(now) ||
  remoteHealth(rail.remote).isPaused(now)

const triedAt = (rail: RailCandidate, now: number): number => Math.max(now, rail.notBefore)

/**
 * The rails that may be opened, the best one first; it may have to wait until its `notBefore`. A
 * pause counts only while another rail of `all` has none and has not failed last.
 */
export const rankRails = <R extends RailCandidate>(
  rails: ReadonlyArray<R>,
  all: ReadonlyArray<R>,
  input: RankingInput
): ReadonlyArray<R> => {
  const { distance, load, now } = input
  const isPauseHeeded = all.some((rail) => rail.status !== "failed" && !isPaused(rail, input))
  return rails
    .filter((rail) => !isPauseHeeded || !isPaused(rail, input))
    .toSorted(
      (one, other) =>
        railScore(one, input) - railScore(other, input) ||
        triedAt(one, now) - triedAt(other, now) ||
        distance(one.remote) - distance(other.remote) ||
        Number(other.isPreferred) - Number(one.isPreferred) ||
        load(one.remote) - load(other.remote) ||
        one.local - other.local ||
        one.remote - other.remote
    )
}
