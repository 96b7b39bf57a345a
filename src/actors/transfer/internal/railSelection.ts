/**
 * The ways to a peer: each pair of an own card and one of the peer's is a rail. Which one to use,
 * what its failures say, and when it may be tried again. Pure: time is a value.
 *
 * That any card reaches any other is not assumed. What is known of a pair is learned: one that
 * failed comes last. Among the others those to a card near to the memory come first, and then
 * those that moved data before untried ones.
 */
import type { Status } from "../../../native/verbs/Completion.ts"
import type { Backoff } from "../../link/Backoff.ts"
import type { FaultWindow } from "../../link/FaultWindow.ts"

/** Growth after an attempt that cost nothing: work waits at most half of an outage's time. */
const reopened = 1.5
/** Growth after one under work, of which there are few: together they must last some seconds. */
const retried = 2

/** Whose fault the end of a work request was; `none` if it only tells of the end of its link. */
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

/** A way from an own card to one of a peer's. */
export class Rail {
  /** The numbers of the cards. */
  readonly local: number
  readonly remote: number
  /** Cards of one name are likely to be on one network. */
  readonly isPreferred: boolean
  readonly health: FaultWindow
  readonly #backoff: Backoff
  #reach: 0 | 1 | 2 = 1
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

  /** 0: it moved data, 1: untried, 2: it failed last. */
  get reach(): number {
    return this.#reach
  }

  /** It may be opened from then on. */
  get notBefore(): number {
    return this.#notBefore
  }

  /** Only data that arrived shows that a rail works. */
  moved(): void {
    this.#reach = 0
    this.#backoff.proven()
    this.#notBefore = -Infinity
  }

  /** An attempt ended: a link that was not opened, or that has ended. */
  failed(now: number, isUnreachable: boolean): void {
    // One end of a link says little; a second one before anything moved says enough.
    if (isUnreachable || this.#backoff.attempts > 0) this.#reach = 2
    this.#notBefore = now + this.#backoff.next(isUnreachable ? reopened : retried)
  }
}

/** What is known besides a rail: of its two cards, and how much they do for this peer. */
export interface Surroundings {
  readonly now: number
  readonly localHealth: (local: number) => FaultWindow
  readonly remoteHealth: (remote: number) => FaultWindow
  /** Rails to that card of the peer that are open or being opened. */
  readonly load: (remote: number) => number
  /** How far that card of the peer is from the memory that work waits for. */
  readonly distance: (remote: number) => number
}

/** Behind the longest distance. */
const failedLast = 6

/** By the distance, and only then by whether it has worked; one that failed last is behind all. */
const standing = ({ reach, remote }: Rail, { distance }: Surroundings): number =>
  reach < 2 ? 2 * distance(remote) + reach : failedLast

const isPaused = (rail: Rail, { localHealth, now, remoteHealth }: Surroundings): boolean =>
  rail.health.isPaused(now) ||
  localHealth(rail.local).isPaused(now) ||
  remoteHealth(rail.remote).isPaused(now)

const later = (rail: Rail, now: number): number => Math.max(now, rail.notBefore)

/**
 * The rails that may be opened, the best one first; it may have to wait until its `notBefore`. A
 * pause counts only while another rail of `all` has none and has not failed last.
 */
export const ranked = <R extends Rail>(
  rails: ReadonlyArray<R>,
  all: ReadonlyArray<R>,
  surroundings: Surroundings
): ReadonlyArray<R> => {
  const { distance, load, now } = surroundings
  const isPauseHeeded = all.some((rail) => rail.reach < 2 && !isPaused(rail, surroundings))
  return rails
    .filter((rail) => !isPauseHeeded || !isPaused(rail, surroundings))
    .toSorted(
      (one, other) =>
        standing(one, surroundings) - standing(other, surroundings) ||
        later(one, now) - later(other, now) ||
        distance(one.remote) - distance(other.remote) ||
        Number(other.isPreferred) - Number(one.isPreferred) ||
        load(one.remote) - load(other.remote) ||
        one.local - other.local ||
        one.remote - other.remote
    )
}
