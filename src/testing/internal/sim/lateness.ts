/**
 * Draws the lateness of each timer of a run.
 *
 * A real timer fires at its time or later: the event loop, the operating system or the work between
 * two sleeps takes time. Without that, two fibers that start 5 ms apart and work for 1 ms would
 * never meet. Each run first draws which share of its timers is late. In some runs none is, since
 * other defects need timers that fire at the same moment.
 */
import { Prng } from "./prng.ts"

/** Share of late timers: one of these is drawn for each run. */
const shares = [0, 0.1, 0.5, 0.5, 1] as const

/** The lateness of the timers of one run, in the order in which they are set. */
export class Lateness {
  readonly #prng: Prng
  readonly #share: number
  readonly #slackMillis: number

  constructor(seed: number, slackMillis: number) {
    this.#prng = new Prng(seed, "lateness")
    const drawn = this.#prng.pick(shares)
    this.#share = slackMillis === 0 ? 0 : drawn
    this.#slackMillis = slackMillis
  }

  /** Milliseconds, whole ones if the slack allows, so that a late timer meets others. */
  draw(): number {
    if (this.#share === 0 || !this.#prng.chance(this.#share)) return 0
    const slack = this.#slackMillis
    return slack < 1 ? slack * this.#prng.double() : this.#prng.between(1, Math.floor(slack))
  }
}
