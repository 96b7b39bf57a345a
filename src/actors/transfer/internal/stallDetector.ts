/** Gives up links on which posted work does not end. */
import * as Effect from "effect/Effect"
import type { EngineContext } from "./engineContext.ts"
import type { Work } from "./work.ts"

export class StallDetector {
  readonly #engine: EngineContext
  /** Posted work of one NIC. */
  readonly #posted: ReadonlyMap<number, Work>
  #isWatching = false

  constructor(engine: EngineContext, posted: ReadonlyMap<number, Work>) {
    this.#engine = engine
    this.#posted = posted
  }

  /** Checks while work is posted. */
  watch(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    const { fork, settings } = this.#engine
    const look = Effect.suspend(() => {
      this.#isWatching = this.#posted.size > 0
      if (this.#isWatching) this.#giveUp()
      return this.#isWatching ? again : Effect.void
    })
    const again: Effect.Effect<void> = Effect.delay(look, settings.stallAfterMs / 2)
    fork(again)
  }

  #giveUp(): void {
    const before = this.#engine.now() - this.#engine.settings.stallAfterMs
    for (const { link, rail } of this.#posted.values()) {
      if (rail!.progressAt > before || rail!.link !== link) continue
      rail!.peer.onLinkLost(rail!, { blame: "rail", status: "stalled" })
    }
  }
}
