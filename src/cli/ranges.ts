/** Numbers on the command line that must be within a range. */
import * as Flag from "effect/cli/Flag"

/** A whole number from `least` to `most`; others are refused before anything is begun. */
export const intBetween = (name: string, least: number, most: number): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.filter(
      (value) => value >= least && value <= most,
      () => `a whole number from ${least} to ${most}`
    )
  )
