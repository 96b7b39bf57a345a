/**
 * Exponential backoff with jitter and a cap. Only proof that the peer works resets it: a connection
 * that is established and dies at once must not be tried again without a brake.
 *
 * Effect's `Schedule.exponential` with `Schedule.jittered` is not used: its step is an effect,
 * nothing resets a step from outside, and callers here compare the times of several attempts
 * before they start one. So a wait is a number that is drawn when an attempt ends.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

export interface BackoffSettings {
  /** The wait after the first attempt. */
  readonly firstMs: number
  /** No wait is longer. */
  readonly longestMs: number
}

/** Each wait is this many times the one before, unless the caller knows better. */
const defaultGrowth = 1.5

/**
 * The part of a wait that is added at random: it spreads peers that lost one server together. A
 * wait is never shortened, so a number of attempts lasts as long as without jitter.
 */
const jitter = 0.25

export class Backoff {
  readonly #settings: BackoffSettings
  readonly #random: () => number
  #wait = 0
  #attempts = 0

  /** `random` gives numbers from 0 up to, but not including, 1. */
  constructor(settings: BackoffSettings, random: () => number) {
    this.#settings = settings
    this.#random = random
  }

  /** Draws from Effect's random numbers. */
  static readonly make = (settings: BackoffSettings): Effect.Effect<Backoff> =>
    Effect.map(Random.Random, (random) => new Backoff(settings, () => random.nextDoubleUnsafe()))

  /** Attempts since the last proof. */
  get attempts(): number {
    return this.#attempts
  }

  /** An attempt ended without proof. Returns the milliseconds to wait before the next one. */
  next(growth = defaultGrowth): number {
    const { firstMs, longestMs } = this.#settings
    const wait = this.#attempts === 0 ? firstMs : growth * this.#wait
    this.#wait = Math.min(longestMs / (1 + jitter), wait)
    this.#attempts += 1
    return this.#wait * (1 + jitter * this.#random())
  }

  /** The peer has done what the attempts are for, for example moved data: waits begin anew. */
  proven(): void {
    this.#attempts = 0
  }
}
