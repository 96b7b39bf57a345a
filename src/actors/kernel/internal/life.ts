/** What drives the cells of one owner, which says what comes of a crash. */
import * as Effect from "effect/Effect"
import type { Life } from "./cell.ts"
import { generate, setRecovering } from "./recovering.ts"
import { turn } from "./turning.ts"

export const lifeWith = (crashed: Life["crashed"]): Life => ({
  turn,
  crashed,
  wake: (cell) => {
    // It recovers from here on, whenever the fiber comes to it.
    const recovery = generate(cell)
    const { generation } = cell
    const fiber = cell.fork(
      Effect.catchCause(recovery, (cause) =>
        Effect.sync(() => {
          if (cell.phase === "halted") crashed(cell, generation, cause)
        })
      )
    )
    setRecovering(cell, fiber)
  }
})
