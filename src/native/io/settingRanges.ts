/**
 * Ranges of settings. Values outside would hang, loop without end, or fail far from their cause.
 */
import * as Effect from "effect/Effect"
import { SettingsRefused } from "./PoolError.ts"

/** The allowed values of a setting, in words and as a test. */
export interface Range {
  readonly rule: string
  readonly holds: (value: number) => boolean
}

export const whole = (least: number, most: number = Number.MAX_SAFE_INTEGER): Range => ({
  rule:
    most === Number.MAX_SAFE_INTEGER
      ? `a whole number from ${least}`
      : `a whole number from ${least} to ${most}`,
  holds: (value) => Number.isInteger(value) && value >= least && value <= most
})

/** The same numbers, or none at all. */
export const orInfinity = ({ holds, rule }: Range): Range => ({
  rule: `${rule}, or Infinity`,
  holds: (value) => value === Infinity || holds(value)
})

/** Milliseconds, which may be infinite. */
export const millis = (least: number): Range => ({
  rule: `a number of milliseconds from ${least}`,
  holds: (value) => value >= least
})

/** Milliseconds of a timer of Node: a longer one would fire at once. */
export const timer = (least: number): Range => ({
  rule: `a number of milliseconds from ${least} to ${2 ** 31 - 1}`,
  holds: (value) => value >= least && value <= 2 ** 31 - 1
})

/** A setting out of its range, and the rule that it breaks. */
export interface BrokenRule {
  readonly setting: string
  readonly value: number
  readonly rule: string
}

/** The first setting out of its range; a missing one has its default. */
export const brokenIn = (
  settings: object,
  ranges: Readonly<Record<string, Range>>
): BrokenRule | undefined => {
  const given = settings as Readonly<Record<string, number | undefined>>
  for (const [setting, { holds, rule }] of Object.entries(ranges)) {
    const value = given[setting]
    if (value !== undefined && !holds(value)) return { setting, value, rule }
  }
  return undefined
}

/** Fails with the first setting that is out of its range. */
export const checkRanges = (
  settings: object,
  ranges: Readonly<Record<string, Range>>
): Effect.Effect<void, SettingsRefused> =>
  Effect.suspend(() => {
    const broken = brokenIn(settings, ranges)
    return broken === undefined ? Effect.void : Effect.fail(new SettingsRefused(broken))
  })
