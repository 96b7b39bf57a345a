/** Finds links on which nothing ends, for as long as something is posted. */
import * as Effect from "effect/Effect"
import type { Core } from "./core.ts"
import type { Slice } from "./slice.ts"

export class Stalls {
  readonly #core: Core
  /** What a card has posted. */
  readonly #posted: ReadonlyMap<number, Slice>
  #isWatching = false

  constructor(core: Core, posted: ReadonlyMap<number, Slice>) {
    this.#core = core
    this.#posted = posted
  }

  /** Something is posted. */
  watch(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    const { fork, settings } = this.#core
    const look = Effect.suspend(() => {
      this.#isWatching = this.#posted.size > 0
      if (this.#isWatching) this.#giveUp()
      return this.#isWatching ? again : Effect.void
    })
    const again: Effect.Effect<void> = Effect.delay(look, settings.stallAfterMs / 2)
    fork(again)
  }

  #giveUp(): void {
    const before = this.#core.now() - this.#core.settings.stallAfterMs
    for (const { link, way } of this.#posted.values()) {
      if (way!.progressAt > before || way!.link !== link) continue
      way!.peer.ways.lost(way!, { blame: "rail", status: "stalled" })
    }
  }
}
