/**
 * Order of a peer's epochs, and what is remembered of its incarnations. Pure.
 *
 * An epoch names an incarnation of a process and counts within it. Within one incarnation the
 * larger count is newer. Counts of two incarnations cannot be compared: the one that was taken up
 * last is the present one, and those that it has replaced are remembered, so that a message that
 * one of them sent before it died does not replace its successor.
 */

import * as Schema from "effect/Schema"
import { countOf, Epoch, instanceOf } from "../../schema/Epoch.ts"

/** Fields of a state that remembers a peer's incarnations. */
export const incarnationFields = {
  /** The newest epoch of the peer that was taken up. */
  newest: Schema.UndefinedOr(Epoch),
  /** Incarnations of the peer that a later one has replaced, the latest first. */
  gone: Schema.Array(Schema.String)
}

export interface Incarnations {
  readonly newest: Epoch | undefined
  readonly gone: ReadonlyArray<string>
}

/** Of a peer that has not named an epoch. */
export const noIncarnations: Incarnations = { newest: undefined, gone: [] }

/** Incarnations that are remembered as gone: a late message may come from one of the last few. */
const goneMax = 4

/**
 * How an epoch stands to the newest one. A confirmed epoch belongs to the process that answers at
 * the peer's address now, even if its incarnation was taken for gone.
 */
export const compareEpoch = (
  { gone, newest }: Incarnations,
  epoch: Epoch,
  isConfirmed = false
): "newer" | "same" | "stale" => {
  if (epoch === newest) return "same"
  const incarnation = instanceOf(epoch)
  if (gone.includes(incarnation) && !isConfirmed) return "stale"
  return newest !== undefined && isEarlier(epoch, newest) ? "stale" : "newer"
}

/** True if both epochs are of one incarnation, and `one` is the earlier. */
export const isEarlier = (one: Epoch, other: Epoch): boolean =>
  instanceOf(one) === instanceOf(other) && countOf(one) < countOf(other)

/** Takes an epoch up as the newest. */
export const remember = ({ gone, newest }: Incarnations, epoch: Epoch): Incarnations => {
  const incarnation = instanceOf(epoch)
  const before = newest === undefined ? incarnation : instanceOf(newest)
  const others = [before, ...gone]
  return { newest: epoch, gone: others.filter((one) => one !== incarnation).slice(0, goneMax) }
}
