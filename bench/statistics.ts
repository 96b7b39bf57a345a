/**
 * Intervals for medians and ratios, and the verdicts that follow from them.
 *
 * A ratio is computed within each round, whose runs are neighbours in time, and its interval from
 * these paired ratios. The interval is the one that inverts the sign test: it reaches from one
 * order statistic to another, and the chance that it misses the median is a sum of binomial
 * coefficients, whatever distribution the noise has. That is exact for seven rounds, where a
 * bootstrap is known to be too narrow, and needs no symmetry, as intervals of Wilcoxon's test do. A
 * single outlier widens it on one side and never moves it past a bar.
 */
import { strict as assert } from "node:assert"

/** A bar that a ratio or a figure is held against. */
export type Bar = `${">=" | "<="} ${number}`

/**
 * What is claimed. Figures are named `measure/contestant`, for example `tell/nact`.
 *
 * With `pair`: the first figure divided by the second meets the bar. With `figure`: it does by
 * itself, in its own unit.
 */
export type Claim =
  | { readonly pair: readonly [string, string]; readonly bar: Bar }
  | { readonly figure: string; readonly bar: Bar }

export interface Figure {
  readonly name: string
  readonly unit: string
  /** One value a round, in the order of the rounds. */
  readonly rounds: ReadonlyArray<number>
}

/** Rounds after which claims are judged: a race ends at the first of them that decides all. */
export const looks: ReadonlyArray<number> = [7, 14, 28]

/**
 * The chance that any interval of a race misses, over all its looks together. An interval that is
 * looked at three times has three chances to miss, so each look gets a third of it. Seven is the
 * smallest number of rounds that can be so sure: 2 / 2^7 < 0.05 / 3.
 */
const missChance = 0.05

const missChanceOfLook = missChance / looks.length

export interface Estimate {
  /** The median of the rounds. */
  readonly value: number
  /** The ends of its 95 % interval; infinite if the rounds are too few for one. */
  readonly low: number
  readonly high: number
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** How many of the lowest values, and of the highest, lie outside of the interval; -1 for none. */
const outsideOf = (count: number): number => {
  let chance = 2 ** -count
  let tail = 0
  for (let heads = 0; ; heads++) {
    tail += chance
    if (2 * tail > missChanceOfLook) return heads - 1
    chance *= (count - heads) / (heads + 1)
  }
}

/** The median of the values with its interval. */
export const estimate = (values: ReadonlyArray<number>): Estimate => {
  const sorted = values.toSorted((a, b) => a - b)
  const outside = outsideOf(sorted.length)
  if (outside < 0) return { value: median(sorted), low: -Infinity, high: Infinity }
  const [low, high] = [sorted.at(outside), sorted.at(-1 - outside)]
  assert(low !== undefined && high !== undefined && low <= high)
  return { value: median(sorted), low, high }
}

/** The ratio of two figures, paired over the rounds in which both contestants ran. */
export const ratio = (
  { rounds: dividends }: Figure,
  { rounds: divisors }: Figure
): ReadonlyArray<number> => {
  const both = Math.min(dividends.length, divisors.length)
  return dividends.slice(0, both).map((dividend, round) => dividend / divisors[round]!)
}

/**
 * Where the interval of a claim lies: wholly on the good side of its bar, wholly beyond it, or on
 * both sides. A claim is `not measured` if a contestant of it is not among the figures.
 */
export type Finding = "holds" | "does not hold" | "undecided" | "not measured"

/** A claim with its finding. The unit is `ratio` for a pair, the figure's own otherwise. */
export interface Verdict {
  readonly name: string
  readonly unit: string
  readonly bar: Bar
  readonly finding: Finding
  /** Absent if it was not measured. */
  readonly estimate?: Estimate
}

const findingOf = ({ high, low }: Estimate, bar: Bar): Finding => {
  const limit = Number(bar.slice(3))
  const [good, bad] = bar.startsWith(">=")
    ? [low >= limit, high < limit]
    : [high <= limit, low > limit]
  return good ? "holds" : bad ? "does not hold" : "undecided"
}

/** The figures that a claim is about. */
export const figuresOf = (claim: Claim): ReadonlyArray<string> =>
  "figure" in claim ? [claim.figure] : claim.pair

/** Holds a claim against the figures. */
export const judge = (figures: ReadonlyArray<Figure>, claim: Claim): Verdict => {
  const { bar } = claim
  const names = figuresOf(claim)
  const name = names.join(" : ")
  const [first, second] = names.map((name) => figures.find((figure) => figure.name === name))
  const unit = names.length === 2 ? "ratio" : (first?.unit ?? "")
  if (first === undefined || (names.length === 2 && second === undefined)) {
    return { name, unit, bar, finding: "not measured" }
  }
  const found = estimate(second === undefined ? first.rounds : ratio(first, second))
  return { name, unit, bar, finding: findingOf(found, bar), estimate: found }
}

/** What holds of all machines: a claim that does not hold on one of them does not hold. */
export const together = (findings: ReadonlyArray<Finding>): Finding => {
  const weakest = (["does not hold", "undecided", "not measured"] as const).find((finding) =>
    findings.includes(finding)
  )
  return weakest ?? (findings.length === 0 ? "not measured" : "holds")
}
