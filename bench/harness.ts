/**
 * Races contestants against each other, each run in a process of its own.
 *
 * A bench is a file `bench/NAME.bench.ts` whose default export is a `Bench`. The rules are the same
 * for all of them:
 *
 * - A round runs every contestant twice, in one order and then in its reverse (A B, B A), and takes
 *   the mean of the two. A machine that slows down steadily meanwhile slows all of them equally.
 * - After 7, 14 and 28 rounds (`looks`) the claims are judged by their intervals. Contestants of
 *   claims that are undecided run on, the others are done. A race ends when all claims are decided,
 *   after the last look, or when `raceSeconds` are over.
 * - What a run finished is compared with what it was asked for. A contestant whose run fails is
 *   reported and takes no further part; none of its figures count.
 * - Nothing runs at a raised priority: the figures are those of a process as a user starts it.
 * - Contestants of a claim touch equal amounts of memory: where one places bytes into buffers of
 *   N bytes, the others read into and write from N bytes too, since a small buffer that stays in a
 *   cache is not the same work. Memory that a contestant needs by its design (a queue, a slab) is
 *   its cost and not made up for.
 */
import { fork } from "node:child_process"
import { strict as assert } from "node:assert"
import { type Claim, type Figure, figuresOf, judge, looks } from "./statistics.ts"

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

export interface Bench {
  /** One line: what is measured. */
  readonly title: string
  /** What makes it fair and what it leaves out, for the report. */
  readonly notes?: string
  /** The longest that one run may take, in seconds. Default 60: a run beyond it hangs. */
  readonly timeout?: number
  /** By name. Import what only one contestant needs inside of it. */
  readonly contestants: Record<string, Contestant>
  readonly claims?: ReadonlyArray<Claim>
}

/** A contestant that took no further part, and why. */
export interface Failure {
  readonly contestant: string
  readonly reason: string
}

export interface Results {
  readonly figures: ReadonlyArray<Figure>
  readonly failures: ReadonlyArray<Failure>
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

/** Runs a contestant once. */
export type Run = (contestant: string) => Promise<Record<string, Outcome>>

/** What one run measured; throws if it did not do all that it was asked for. */
const valuesOf = (contestant: string, outcomes: Record<string, Outcome>) =>
  Object.entries(outcomes).map(([measure, { completed, expected, unit, value }]) => {
    const name = `${measure}/${contestant}`
    if (completed !== expected || !Number.isFinite(value)) {
      throw new Error(`${name} completed ${completed} of ${expected} (${value} ${unit})`)
    }
    return { name, unit, value }
  })

const contestantOf = (figure: string): string => figure.slice(figure.indexOf("/") + 1)

/** Rounds that have been run: figures of the contestants that are in the race, and failures. */
class Rounds {
  readonly #series = new Map<string, { readonly unit: string; readonly rounds: Array<number> }>()
  readonly #failures = new Map<string, string>()

  get results(): Results {
    const failures = [...this.#failures].map(([contestant, reason]) => ({ contestant, reason }))
    return { figures: this.figures, failures }
  }

  get figures(): ReadonlyArray<Figure> {
    return [...this.#series]
      .filter(([name]) => !this.#failures.has(contestantOf(name)))
      .map(([name, { rounds, unit }]) => ({ name, unit, rounds }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Claims about figures that no contestant measures are mistakes of the bench. */
  check(claims: ReadonlyArray<Claim>): void {
    for (const name of claims.flatMap(figuresOf)) {
      const failed = this.#failures.has(contestantOf(name))
      if (!failed && !this.#series.has(name)) throw new Error(`no figure is named ${name}`)
    }
  }

  /** Runs each contestant twice: in this order, then in its reverse. */
  async add(names: ReadonlyArray<string>, run: Run): Promise<void> {
    const first = new Map<string, number>()
    for (const contestant of [...names, ...names.toReversed()]) {
      if (this.#failures.has(contestant)) continue
      try {
        for (const { name, unit, value } of valuesOf(contestant, await run(contestant))) {
          const before = first.get(name)
          if (before === undefined) first.set(name, value)
          else this.#put(name, unit, (before + value) / 2)
        }
      } catch (error) {
        this.#failures.set(contestant, error instanceof Error ? error.message : String(error))
      }
    }
  }

  #put(name: string, unit: string, value: number): void {
    const entry = this.#series.get(name) ?? { unit, rounds: [] }
    assert(entry.unit === unit)
    this.#series.set(name, entry)
    entry.rounds.push(value)
  }
}

/** How long a race goes on for claims that are undecided: an hour, less than a night of benches. */
const raceSeconds = 3600

export interface RaceOptions {
  /** Hears of each run before it. */
  readonly watch?: (round: number, contestant: string) => void
  /** Rounds after which the claims are judged. Default: `looks`. */
  readonly looks?: ReadonlyArray<number>
  /** Ends the race after the first look. Default: `raceSeconds`. */
  readonly seconds?: number
}

/** Runs rounds of a bench until its claims are decided. */
export const raceBy = async (
  { claims = [], contestants }: Pick<Bench, "claims" | "contestants">,
  run: Run,
  options: RaceOptions = {}
): Promise<Results> => {
  const until = performance.now() + 1000 * (options.seconds ?? raceSeconds)
  const rounds = new Rounds()
  let names = Object.keys(contestants)
  let round = 0
  for (const look of options.looks ?? looks) {
    while (round < look) {
      // Fewer rounds than the first look has decide nothing.
      if (round >= looks[0]! && performance.now() > until) return rounds.results
      const first = round % names.length
      round += 1
      await rounds.add([...names.slice(first), ...names.slice(0, first)], (contestant) => {
        options.watch?.(round, contestant)
        return run(contestant)
      })
      rounds.check(claims)
    }
    const undecided = claims.filter((claim) => judge(rounds.figures, claim).finding === "undecided")
    const needed = new Set(undecided.flatMap(figuresOf).map(contestantOf))
    names = names.filter((name) => needed.has(name))
    if (names.length === 0) break
  }
  return rounds.results
}

/** Races the bench that a module declares, each run in a process of its own. */
export const race = async (module: string, options?: RaceOptions): Promise<Results> => {
  const bench = await load(module)
  const { timeout = 60 } = bench
  return raceBy(bench, (contestant) => inProcess(module, contestant, timeout), options)
}
