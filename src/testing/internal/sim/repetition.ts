/**
 * Compares a run with an earlier execution of the same seed, step by step.
 *
 * Every step is mixed into a digest: which task ran, of how many, after how many operations, at
 * which time. For comparison, the digest also holds answers of stores, log lines and results of
 * fibers, so that a different value is found although the steps are equal.
 */
import * as Cause from "effect/Cause"
import type * as Fiber from "effect/Fiber"
import { hashText } from "./prng.ts"

/** The digest of one execution and, if it is to be compared, its log. */
export class Repetition {
  /** Two numbers a step: the digest and the operations so far. */
  log: Array<number> | undefined = undefined
  /** The log of the first execution, in its repetition. */
  expected: ReadonlyArray<number> | undefined = undefined
  digest = 0
  readonly #followed = new Set<number>()

  /** Mixes in an action or an input of the program. */
  observe(text: string): void {
    if (this.log !== undefined) this.digest = Math.imul(this.digest ^ hashText(text), 0x01000193)
  }

  /** Observes a fiber's result, if it is a plain value: objects may hold numbers of fibers. */
  follow(fiber: Fiber.Fiber<unknown, unknown>): void {
    if (this.#followed.has(fiber.id)) return
    this.#followed.add(fiber.id)
    fiber.addObserver((exit) => {
      const value = exit._tag === "Success" ? exit.value : Cause.squash(exit.cause)
      if (typeof value !== "object" && typeof value !== "function") this.observe(String(value))
    })
  }

  /** Ends a step. Returns how it differs from the first execution's, if it does. */
  step(chosen: number, runnable: number, operations: number, now: number): string | undefined {
    let digest = Math.imul(this.digest ^ (chosen + (runnable << 12)), 0x85ebca6b)
    digest = Math.imul((digest ^ (digest >>> 15)) + operations, 0xc2b2ae35)
    this.digest = ((digest ^ (digest >>> 13)) + Math.floor(now * 1000)) | 0
    return this.log === undefined ? undefined : this.#compare(this.log, operations)
  }

  #compare(log: Array<number>, operations: number): string | undefined {
    log.push(this.digest, operations)
    const { expected } = this
    if (expected === undefined || expected[log.length - 2] === this.digest) return undefined
    const before = expected[log.length - 1]
    if (before === undefined) return "the first execution had already ended"
    if (before === operations) return "another task, another time or another value"
    return `${before} operations so far in the first execution, ${operations} in the second`
  }
}
