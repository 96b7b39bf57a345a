/** Finds links on which nothing ends, for as long as something is posted. */
import * as Effect from "effect/Effect"
import type { Core } from "./core.ts"
import type { Slice } from "./slice.ts"

export class Stalls {
  readonly #core: Core
  /** What a card has posted. */
  readonly #slots: ReadonlyArray<Slice | undefined>
  #isWatching = false

  constructor(core: Core, slots: ReadonlyArray<Slice | undefined>) {
    this.#core = core
    this.#slots = slots
  }

  /** Something is posted. */
  watch(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    const { fork, settings } = this.#core
    const look = Effect.suspend(() => {
      this.#isWatching = this.#giveUp()
      return this.#isWatching ? again : Effect.void
    })
    const again: Effect.Effect<void> = Effect.delay(look, settings.stall / 2)
    fork(again)
  }

  /** Gives up the links that stall; true if anything is posted. */
  #giveUp(): boolean {
    const before = this.#core.now() - this.#core.settings.stall
    let isAnyPosted = false
    for (const slice of this.#slots) {
      if (slice === undefined) continue
      isAnyPosted = true
      const { link, way } = slice
      if (way!.progressAt > before || way!.link !== link) continue
      way!.peer.ways.lost(way!, { blame: "rail", status: "stalled" })
    }
    return isAnyPosted
  }
}
