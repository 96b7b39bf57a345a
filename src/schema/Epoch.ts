/**
 * Epochs. Every resource, timer, request and completion belongs to one epoch of its connection;
 * results of an older one change nothing.
 *
 * An epoch is never used twice, also not across restarts: a process draws a random instance id when
 * it starts and counts within it. Both are sent, so a peer can distinguish a restart from a
 * reconnect.
 */
import * as Schema from "effect/Schema"

const shape = /^[0-9a-f]{8}\.\d{1,15}$/

/** One epoch: eight hexadecimal digits of the process instance, a dot, a count. */
export const Epoch = Schema.String.pipe(
  Schema.check(Schema.isPattern(shape)),
  Schema.brand("handfast/Epoch")
)

export type Epoch = typeof Epoch.Type

/** Whether a value is an epoch. Called for every message. */
export const isEpoch = (value: unknown): value is Epoch =>
  typeof value === "string" && shape.test(value)

/** The process instance of an epoch. */
export const instanceOf = (epoch: Epoch): string => epoch.slice(0, epoch.indexOf("."))

/** The count of an epoch within its process instance. */
export const countOf = (epoch: Epoch): number => Number(epoch.slice(epoch.indexOf(".") + 1))

/** Draws the epochs of one process instance, each one once. */
export class EpochSource {
  readonly instance: string
  #count = 0

  /** `instance` must be drawn at random, 32 bits of it count. */
  constructor(instance: number) {
    this.instance = (instance >>> 0).toString(16).padStart(8, "0")
  }

  /** Returns an epoch that was never used before. */
  next(): Epoch {
    this.#count++
    return `${this.instance}.${this.#count}` as Epoch
  }
}
