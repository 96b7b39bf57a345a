/**
 * Numbers the fibers of each run from 1, so that a number in a log line repeats. Effect numbers
 * all fibers of the process.
 */
import * as Effect from "effect/Effect"
import { SimProcess } from "./simProcess.ts"

/** Fields that the constructor of a fiber assigns; `number` stands in for its field `id`. */
interface Numbered {
  number: number
  readonly cache: { readonly scheduler: unknown }
}

let isDone = false

/** From now on, fibers in a simulated process take their numbers from its simulator. */
export const numberFibers = (): void => {
  if (isDone) return
  isDone = true
  const prototype: object = Object.getPrototypeOf(Effect.runFork(Effect.void))
  Object.defineProperty(prototype, "id", {
    configurable: true,
    get(this: Numbered) {
      return this.number
    },
    set(this: Numbered, number: number) {
      const { scheduler } = this.cache
      this.number = scheduler instanceof SimProcess ? ++scheduler.simulator.fibers : number
    }
  })
}
