/** Asks on links whether the peer still answers, by empty reads behind what is posted. */
import * as Effect from "effect/Effect"
import type { Posting } from "./posting.ts"
import type { SlicePool } from "./slice.ts"
import type { Way } from "./rail.ts"

interface Probe {
  readonly way: Way
  readonly onAnswer: (isThere: boolean) => void
}

/** The probes of one card. */
export class Probes {
  readonly #posting: Posting
  readonly #pool: SlicePool
  /** Those for which there was no room yet. */
  #waiting: Array<Probe> = []

  constructor(posting: Posting, pool: SlicePool) {
    this.#posting = posting
    this.#pool = pool
  }

  /** `fill` lets the card post what can be posted now. */
  probe(way: Way, fill: () => void): Effect.Effect<boolean> {
    return Effect.callback<boolean>((resume) => {
      const onAnswer = (isThere: boolean) => resume(Effect.succeed(isThere))
      const probe = { way, onAnswer }
      this.#waiting.push(probe)
      fill()
      return Effect.sync(() => {
        this.#waiting = this.#waiting.filter((one) => one !== probe)
      })
    })
  }

  /** Posts what waits, as far as there is room. */
  send(capacity: number): void {
    if (this.#waiting.length === 0) return
    this.#waiting = this.#waiting.filter((probe) => !this.#send(probe, capacity))
  }

  /** True if it was posted, or need not be. */
  #send({ onAnswer, way }: Probe, capacity: number): boolean {
    const { link } = way
    if (link?.isOpen !== true) {
      onAnswer(false)
      return true
    }
    if (this.#posting.posted.size >= capacity || link.room < 1) return false
    const probe = this.#pool.take()
    probe.onAnswer = onAnswer
    const isPosted = this.#posting.emptyRead(probe, way, link, link.roomiest) === "accepted"
    if (!isPosted) this.#pool.give(probe)
    return isPosted
  }
}
