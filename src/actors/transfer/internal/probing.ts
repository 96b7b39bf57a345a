/** Checks on links whether the peer still answers, by zero-length reads behind posted work. */
import * as Effect from "effect/Effect"
import type { Posting } from "./posting.ts"
import type { Rail } from "./rail.ts"

interface Probe {
  readonly rail: Rail
  readonly onAnswer: (isThere: boolean) => void
}

/** The probes of one NIC. */
export class Probes {
  readonly #posting: Posting
  /** Probes for which there was no room yet. */
  #waiting: Array<Probe> = []

  constructor(posting: Posting) {
    this.#posting = posting
  }

  /** `fill` lets the NIC post all that has room now. */
  probe(rail: Rail, fill: () => void): Effect.Effect<boolean> {
    return Effect.callback<boolean>((resume) => {
      const onAnswer = (isThere: boolean) => resume(Effect.succeed(isThere))
      const probe = { rail, onAnswer }
      this.#waiting.push(probe)
      fill()
      return Effect.sync(() => {
        this.#waiting = this.#waiting.filter((one) => one !== probe)
      })
    })
  }

  /** Posts waiting probes while there is room. */
  send(capacity: number): void {
    if (this.#waiting.length === 0) return
    this.#waiting = this.#waiting.filter((probe) => !this.#send(probe, capacity))
  }

  /** True if it was posted, or need not be. */
  #send({ onAnswer, rail }: Probe, capacity: number): boolean {
    const { link } = rail
    if (link?.isOpen !== true) {
      onAnswer(false)
      return true
    }
    if (this.#posting.posted.size >= capacity || link.room < 1) return false
    const probe = this.#posting.pool.acquire()
    probe.onAnswer = onAnswer
    const isPosted = this.#posting.emptyRead(probe, rail, link, link.roomiest) === "accepted"
    if (!isPosted) this.#posting.pool.release(probe)
    return isPosted
  }
}
