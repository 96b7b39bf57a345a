/** Drives the cells of one owner, which decides what happens after a crash. */
import * as Exit from "effect/Exit"
import type { Life } from "./cell.ts"
import { generate } from "./recovering.ts"
import { turn } from "./turning.ts"

export const lifeWith = (crashed: Life["crashed"]): Life => ({
  turn,
  crashed,
  wake: (cell) => {
    const generation = cell.generation + 1
    generate(cell).addObserver((exit) => {
      if (Exit.isFailure(exit) && cell.phase === "halted") crashed(cell, generation, exit.cause)
    })
  }
})
