/**
 * Races contestants against each other, each run in a process of its own.
 *
 * A bench is a file `bench/NAME.bench.ts` whose default export is a `Bench`. The rules are the
 * same for all of them: contestants take turns over the rounds, and each round starts with another
 * one; what a run finished is compared with what it was asked for; a figure is the median of its
 * rounds, and a ratio is the quotient of two such medians, so that it can be checked by hand.
 */
import { fork } from "node:child_process"

/** What one run of a contestant measured under one name. */
export interface Outcome {
  readonly value: number
  readonly unit: string
  /** How many pieces of work came to their end, counted where they end. */
  readonly completed: number
  /** How many were asked for. A run that completed another number is refused. */
  readonly expected: number
}

/** One run: measures by name, for example `{ tell: ..., ask: ... }`. It warms up by itself. */
export type Contestant = () => Promise<Record<string, Outcome>> | Record<string, Outcome>

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

export interface Bench {
  /** One line: what is measured. */
  readonly title: string
  /** What makes it fair and what it leaves out, for the report. */
  readonly notes?: string
  /** At least five, which is also the default. */
  readonly rounds?: number
  /** The longest that one run may take, in seconds. Default 60: a run beyond it hangs. */
  readonly timeout?: number
  /** By name. Import what only one contestant needs inside of it. */
  readonly contestants: Record<string, Contestant>
  readonly claims?: ReadonlyArray<Claim>
}

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** One value a round, in the order of the rounds. */
  readonly rounds: ReadonlyArray<number>
}

/** A claim with its outcome. The unit is `ratio` for a pair, the figure's own otherwise. */
export interface Verdict {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly pair?: readonly [string, string]
  readonly bar: Bar
  readonly holds: boolean
}

export interface Results {
  readonly figures: ReadonlyArray<Figure>
  readonly verdicts: ReadonlyArray<Verdict>
}

/** Times `run(count)`, which answers how many it completed, and gives completions per second. */
export const rate = async (options: {
  readonly unit: string
  readonly count: number
  /** Runs this many before the clock starts. Default: a tenth of `count`. */
  readonly warmup?: number
  readonly run: (count: number) => number | Promise<number>
}): Promise<Outcome> => {
  const { count, run, unit } = options
  await run(options.warmup ?? Math.ceil(count / 10))
  const start = performance.now()
  const completed = await run(count)
  const seconds = (performance.now() - start) / 1000
  return { value: completed / seconds, unit, completed, expected: count }
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

const meets = (value: number, bar: Bar): boolean => {
  const limit = Number(bar.slice(3))
  return bar.startsWith(">=") ? value >= limit : value <= limit
}

/** Holds each claim against the figures. A claim about a figure that is not there is an error. */
export const judge = (
  figures: ReadonlyArray<Figure>,
  claims: ReadonlyArray<Claim>
): ReadonlyArray<Verdict> => {
  const named = (name: string) => {
    const figure = figures.find((figure) => figure.name === name)
    if (figure === undefined) throw new Error(`no figure is named ${name}`)
    return figure
  }
  return claims.map((claim) => {
    const { bar } = claim
    if ("figure" in claim) {
      const { unit, value } = named(claim.figure)
      return { name: claim.figure, value, unit, bar, holds: meets(value, bar) }
    }
    const { pair } = claim
    const value = named(pair[0]).value / named(pair[1]).value
    const name = `${pair[0]} : ${pair[1]}`
    return { name, value, unit: "ratio", pair, bar, holds: meets(value, bar) }
  })
}

/** Loads the bench that a module declares. */
export const load = async (module: string): Promise<Bench> => (await import(module)).default

const runner = new URL("./run.ts", import.meta.url)

/** Runs one contestant in a process of its own. What it prints is shown only if it fails. */
const inProcess = (module: string, name: string, timeout: number) =>
  new Promise<Record<string, Outcome>>((resolve, reject) => {
    const child = fork(runner, ["--contestant", module, name], {
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "pipe", "pipe", "ipc"]
    })
    let outcomes: Record<string, Outcome> | undefined
    let printed = ""
    const note = (text: Buffer) => (printed = (printed + text).slice(-4096))
    const timer = setTimeout(() => child.kill("SIGKILL"), timeout * 1000)
    child.stdout?.on("data", note)
    child.stderr?.on("data", note)
    child.on("message", (message: Record<string, Outcome>) => (outcomes = message))
    child.on("error", reject)
    child.on("close", (code, signal) => {
      clearTimeout(timer)
      if (code === 0 && outcomes !== undefined) return resolve(outcomes)
      const end = signal === "SIGKILL" ? `was stopped after ${timeout} s` : `ended with ${code}`
      reject(new Error(`contestant ${name} ${end}\n${printed}`))
    })
  })

/** The other side of `inProcess`: runs one contestant here and reports to the parent process. */
export const compete = async (module: string, name: string): Promise<void> => {
  const outcomes = await (await load(module)).contestants[name]?.()
  // A contestant may leave sockets or workers behind; the process is over with its report.
  process.send?.(outcomes, () => process.exit())
}

const collect = (
  series: Map<string, { unit: string; rounds: Array<number> }>,
  contestant: string,
  outcomes: Record<string, Outcome>
) => {
  for (const [measure, { completed, expected, unit, value }] of Object.entries(outcomes)) {
    const name = `${measure}/${contestant}`
    if (completed !== expected || !Number.isFinite(value)) {
      throw new Error(`${name} completed ${completed} of ${expected} (${value} ${unit})`)
    }
    const entry = series.get(name) ?? { unit, rounds: [] }
    series.set(name, entry)
    entry.rounds.push(value)
  }
}

/** Runs all rounds of the bench that a module declares. `watch` hears of each run before it. */
export const race = async (
  module: string,
  watch: (round: number, rounds: number, contestant: string) => void = () => {}
): Promise<Results> => {
  const bench = await load(module)
  const rounds = Math.max(5, bench.rounds ?? 5)
  const names = Object.keys(bench.contestants)
  const series = new Map<string, { unit: string; rounds: Array<number> }>()
  for (let round = 0; round < rounds; round++) {
    const first = round % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      watch(round + 1, rounds, name)
      collect(series, name, await inProcess(module, name, bench.timeout ?? 60))
    }
  }
  const figures = [...series]
    .map(([name, { rounds, unit }]) => ({ name, value: median(rounds), unit, rounds }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  return { figures, verdicts: judge(figures, bench.claims ?? []) }
}
