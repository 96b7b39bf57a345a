/**
 * Goal: a bench says `holds` or `does not hold` only of what is so, whatever the noise.
 * Method: many races with synthetic runs whose true ratio is known, with seeded noise, drift and
 * outliers; the intervals are held against the truth.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Outcome, raceBy, type Results } from "../bench/harness.ts"
import {
  type Bar,
  type Claim,
  estimate,
  type Finding,
  judge,
  looks,
  median,
  ratio,
  together
} from "../bench/statistics.ts"

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
const random = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Normally distributed numbers (Box and Muller). */
const normal = (next: () => number) => (): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())

const contestants = { ours: () => ({}), theirs: () => ({}) }
const pair = ["rate/ours", "rate/theirs"] as const

interface World {
  readonly seed: number
  /** What `ours` is faster than `theirs`. */
  readonly truth: number
  readonly bar: Bar
  /** A run's value is multiplied with this; gets the run's number and a normal random number. */
  readonly noise: (run: number, normal: () => number, uniform: () => number) => number
}

const outcome = (value: number): Outcome => ({ value, unit: "op/s", completed: 1, expected: 1 })

/** A whole race of two contestants whose runs are made up. */
const raceOf = ({ bar, noise, seed, truth }: World): Promise<Results> => {
  const uniform = random(seed)
  const gaussian = normal(uniform)
  let runs = 0
  return raceBy({ contestants, claims: [{ pair, bar }] }, (contestant) => {
    const value = (contestant === "ours" ? truth : 1) * 1000 * noise(runs++, gaussian, uniform)
    return Promise.resolve({ rate: outcome(value) })
  })
}

/** Races under many seeds: how often each finding was made, and the rounds that it took. */
const tally = async (world: Omit<World, "seed">, races = 400) => {
  const findings: Record<Finding, number> = {
    holds: 0,
    "does not hold": 0,
    undecided: 0,
    "not measured": 0
  }
  const rounds: Array<number> = []
  let covered = 0
  for (let seed = 1; seed <= races; seed++) {
    const { figures } = await raceOf({ ...world, seed })
    const verdict = judge(figures, { pair, bar: world.bar })
    const { high = 0, low = 0 } = verdict.estimate ?? {}
    findings[verdict.finding] += 1 / races
    rounds.push(figures[0]!.rounds.length)
    if (low <= world.truth && world.truth <= high) covered += 1 / races
  }
  return { findings, rounds, covered }
}

const gaussian =
  (deviation: number): World["noise"] =>
  (_, normal) =>
    Math.exp(deviation * normal())

describe("verdicts of a race", () => {
  it("a ratio that equals its bar is mostly undecided and seldom decided wrongly", async () => {
    const { covered, findings, rounds } = await tally({
      truth: 1,
      bar: ">= 1",
      noise: gaussian(0.1)
    })
    assert.isAtMost(findings.holds, 0.05)
    assert.isAtMost(findings["does not hold"], 0.05)
    assert.isAtLeast(findings.undecided, 0.9)
    assert.isAtLeast(covered, 0.95)
    assert.strictEqual(median(rounds), looks.at(-1))
  })

  it("the interval covers a ratio on its bar after several looks at skewed noise", async () => {
    // Runs are never faster than they can be, and slower by chance: exponential tails.
    const noise: World["noise"] = (_run, _normal, uniform) =>
      1 + 0.2 * Math.log(1 - uniform() * 0.95)
    const { covered, findings } = await tally({ truth: 1, bar: "<= 1", noise })
    assert.isAtLeast(covered, 0.95)
    assert.isAtMost(findings.holds, 0.05)
  })

  it("a ratio of 1.2 against 1.0 is decided within few rounds under noise of 10 %", async () => {
    const { findings, rounds } = await tally({ truth: 1.2, bar: ">= 1", noise: gaussian(0.1) })
    assert.isAtLeast(findings.holds, 0.99)
    assert.strictEqual(findings["does not hold"], 0)
    assert.strictEqual(median(rounds), looks[0])
  })

  it("a ratio of 0.8 against 1.0 does not hold, and is decided as soon", async () => {
    const { findings, rounds } = await tally({ truth: 0.8, bar: ">= 1", noise: gaussian(0.1) })
    assert.isAtLeast(findings["does not hold"], 0.99)
    assert.strictEqual(findings.holds, 0)
    assert.strictEqual(median(rounds), looks[0])
  })

  it("drift biases a ratio of one run after the other, and not that of a round", async () => {
    // A machine that heats up: each run is slower than the last by 1.5 % of the first.
    const drift: World["noise"] = (run, normal) => (1 - 0.015 * run) * Math.exp(0.002 * normal())
    const { findings } = await tally({ truth: 1, bar: ">= 1.005", noise: drift }, 50)
    assert.strictEqual(findings.holds, 0)
    const { figures } = await raceOf({ seed: 1, truth: 1, bar: ">= 1.005", noise: drift })
    const found = estimate(ratio(figures[0]!, figures[1]!))
    assert.approximately(found.value, 1, 0.005)
    // The same runs, all of the one and then all of the other.
    const normals = normal(random(1))
    const [ours, theirs] = [0, 14].map((from) =>
      Array.from({ length: 14 }, (_, run) => drift(from + run, normals, () => 0))
    )
    assert.isAbove(median(ours!) / median(theirs!), 1.2)
  })

  it("outliers decide nothing", async () => {
    // One run in twenty is hit by something else and takes ten times as long.
    const noise: World["noise"] = (_, normal, uniform) =>
      Math.exp(0.05 * normal()) * (uniform() < 0.05 ? 0.1 : 1)
    const even = await tally({ truth: 1, bar: ">= 1", noise })
    assert.isAtMost(even.findings.holds, 0.05)
    assert.isAtLeast(even.covered, 0.95)
    const better = await tally({ truth: 1.3, bar: ">= 1", noise })
    assert.isAtLeast(better.findings.holds, 0.95)
    assert.strictEqual(better.findings["does not hold"], 0)
  })

  it("a contestant whose claims are decided is done, and others run on", async () => {
    const gaussians = normal(random(3))
    const values: Record<string, () => number> = {
      ours: () => 100 * Math.exp(0.1 * gaussians()),
      equal: () => 100 * Math.exp(0.1 * gaussians()),
      slow: () => 10
    }
    const bench = {
      contestants: { ours: () => ({}), equal: () => ({}), slow: () => ({}) },
      claims: [
        { pair: ["rate/ours", "rate/equal"], bar: ">= 1" },
        { pair: ["rate/ours", "rate/slow"], bar: ">= 2" }
      ] satisfies ReadonlyArray<Claim>
    }
    const { figures } = await raceBy(bench, (contestant) =>
      Promise.resolve({ rate: outcome(values[contestant]!()) })
    )
    const rounds = Object.fromEntries(figures.map(({ name, rounds }) => [name, rounds.length]))
    assert.deepStrictEqual(rounds, { "rate/equal": 28, "rate/ours": 28, "rate/slow": 7 })
    assert.deepStrictEqual(
      bench.claims.map((claim) => judge(figures, claim).finding),
      ["undecided", "holds"]
    )
  })

  it("the time of a race is bounded, but not before it can say anything", async () => {
    const bench = { contestants, claims: [{ pair, bar: ">= 1" }] satisfies ReadonlyArray<Claim> }
    const uniform = random(1)
    const run = () => Promise.resolve({ rate: outcome(1 + uniform()) })
    const { figures } = await raceBy(bench, run, { seconds: 0 })
    assert.strictEqual(figures[0]!.rounds.length, looks[0])
  })
})

describe("intervals", () => {
  const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

  it("are the order statistics that binomial tables give for 1 − 0.05 / 3", () => {
    const bounds = [7, 8, 11, 14, 28].map((count) => {
      const { high, low } = estimate(upTo(count))
      return [count, low, high]
    })
    assert.deepStrictEqual(bounds, [
      [7, 1, 7],
      [8, 1, 8],
      [11, 2, 10],
      [14, 3, 12],
      [28, 8, 21]
    ])
  })

  it("are without ends if the rounds are too few", () => {
    for (const count of [0, 1, 6]) {
      const { high, low } = estimate(upTo(count))
      assert.deepStrictEqual([low, high], [-Infinity, Infinity])
    }
  })

  it("do not depend on the order of the rounds", () => {
    const shuffled = [5, 1, 7, 3, 6, 2, 4]
    assert.deepStrictEqual(estimate(shuffled), { value: 4, low: 1, high: 7 })
  })

  it("of a figure cover the true median of 14 rounds in 95 % of cases and more", () => {
    const normals = normal(random(7))
    let covered = 0
    for (let sample = 0; sample < 1000; sample++) {
      const { high, low } = estimate(Array.from({ length: 14 }, () => 10 + normals()))
      if (low <= 10 && 10 <= high) covered++
    }
    assert.isAtLeast(covered, 970)
  })
})

describe("a claim", () => {
  const figures = [
    { name: "rate/ours", unit: "op/s", rounds: [10, 20, 30, 40, 50, 60, 70, 80] },
    { name: "rate/theirs", unit: "op/s", rounds: [5, 10, 15, 20, 25, 30, 35] }
  ]

  it("of a pair divides round by round, over the rounds that both ran", () => {
    assert.deepStrictEqual(ratio(figures[0]!, figures[1]!), [2, 2, 2, 2, 2, 2, 2])
  })

  it("is judged by where its whole interval lies", () => {
    const finding = (bar: Bar) => judge(figures, { figure: "rate/theirs", bar }).finding
    assert.deepStrictEqual(
      ([">= 5", ">= 6", ">= 35", ">= 36", "<= 35", "<= 34", "<= 5", "<= 4"] as const).map(finding),
      [
        "holds",
        "undecided",
        "undecided",
        "does not hold",
        "holds",
        "undecided",
        "undecided",
        "does not hold"
      ]
    )
  })

  it("is not measured if a figure of it is absent", () => {
    const { estimate: found, finding } = judge(figures, {
      pair: ["rate/ours", "rate/none"],
      bar: ">= 1"
    })
    assert.deepStrictEqual([found, finding], [undefined, "not measured"])
    const alone = judge(figures, { figure: "rate/none", bar: ">= 1" })
    assert.strictEqual(alone.finding, "not measured")
  })

  it("holds on all processors only if it holds on each", () => {
    assert.strictEqual(together(["holds", "holds"]), "holds")
    assert.strictEqual(together(["holds", "undecided", "does not hold"]), "does not hold")
    assert.strictEqual(together(["not measured", "undecided", "holds"]), "undecided")
    assert.strictEqual(together(["holds", "not measured"]), "not measured")
    assert.strictEqual(together([]), "not measured")
  })
})
