/**
 * Runs small threads in every interleaving that can make a difference.
 *
 * A thread is a generator that yields between its steps. It yields a function when it cannot go
 * on before that function says so. Each schedule starts from fresh threads, so the code under
 * test is the shipped code with its own private state. A thread's private state follows from
 * what it has read, so two schedules after which the shared words are equal, and every thread has
 * read the same and made as many steps, go on alike: only the first is followed.
 */
type Step = (() => boolean) | undefined
export type Thread = Generator<Step, void, void>

/** Fresh threads, the memory that they share or have filled, and the check of a finished run. */
export interface Model {
  readonly threads: ReadonlyArray<Thread>
  readonly memory: ReadonlyArray<{ readonly join: () => string }>
  readonly check: () => string | undefined
}

export interface Explored {
  readonly schedules: number
  /** What went wrong, with the schedule that shows it. */
  readonly failure: string | undefined
}

interface Running {
  readonly thread: Thread
  blocked: Step
  done: boolean
  steps: number
  read: string
}

const { exchange, load } = Atomics

/** Makes one step and notes what the thread reads by it. */
const step = (running: Running): void => {
  const note = (value: number): number => {
    running.read += `${value},`
    return value
  }
  const reading = {
    load: (words: Int32Array, at: number) => note(load(words, at)),
    exchange: (words: Int32Array, at: number, value: number) => note(exchange(words, at, value))
  }
  Object.assign(Atomics, reading)
  try {
    const { done, value } = running.thread.next()
    running.done = done === true
    running.blocked = value === undefined ? undefined : value
    running.steps++
  } finally {
    Object.assign(Atomics, { load, exchange })
  }
}

/** One run along a schedule; `choices` tells how many threads could run at each step. */
const run = (
  { check, memory, threads }: Model,
  schedule: ReadonlyArray<number>,
  seen: Set<string>
): { readonly choices: Array<number>; readonly failure: string | undefined } => {
  const all = threads.map((thread): Running => ({
    thread,
    blocked: undefined,
    done: false,
    steps: 0,
    read: ""
  }))
  const choices: Array<number> = []
  while (true) {
    const ready = all.filter((t) => !t.done && (t.blocked === undefined || t.blocked()))
    if (ready.length === 0) {
      const stuck = all.some((t) => !t.done)
      return { choices, failure: stuck ? "all threads wait" : check() }
    }
    const next = ready[schedule[choices.length] ?? 0]
    choices.push(ready.length)
    if (next === undefined) return { choices, failure: "the schedule does not fit" }
    try {
      step(next)
    } catch (error) {
      return { choices, failure: String(error) }
    }
    if (choices.length < schedule.length) continue
    const state = `${memory.join("/")} ${all.map((t) => `${t.steps}:${t.read}`).join(" ")}`
    if (seen.has(state)) return { choices, failure: undefined }
    seen.add(state)
  }
}

/** Explores depth first, up to a limit that is a failure to reach. */
export const interleave = (make: () => Model, limit = 400_000): Explored => {
  const seen = new Set<string>()
  let schedule: Array<number> = []
  for (let schedules = 1; schedules <= limit; schedules++) {
    const { choices, failure } = run(make(), schedule, seen)
    if (failure !== undefined) return { schedules, failure: `${failure} in ${schedule.join("")}` }
    const path = choices.map((_, at) => schedule[at] ?? 0)
    let last = path.length - 1
    while (last >= 0 && (path[last] ?? 0) + 1 >= (choices[last] ?? 0)) last--
    if (last < 0) return { schedules, failure: undefined }
    schedule = [...path.slice(0, last), (path[last] ?? 0) + 1]
  }
  return { schedules: limit, failure: "too many schedules" }
}

/** Two threads: one in the middle of a synchronous act, and another that comes in between. */
export interface Intrusion {
  readonly act: () => void
  readonly intrude: () => void
  /** What went wrong, once both have run. */
  readonly check: () => string | undefined
}

const accesses = ["load", "store", "exchange", "add", "notify", "waitAsync"] as const

/**
 * Runs an act of the shipped code afresh for each of its atomic accesses, with the other thread's
 * act right before that access, and once with it after all. Returns what went wrong, and where.
 */
export const intruded = (make: () => Intrusion): string | undefined => {
  const real = Object.fromEntries(accesses.map((name) => [name, Atomics[name]]))
  for (let at = 0; ; at++) {
    const { act, check, intrude } = make()
    let seen = 0
    const before = (): void => {
      if (seen++ !== at) return
      Object.assign(Atomics, real)
      intrude()
    }
    const hook = (name: (typeof accesses)[number]) => {
      const call = Atomics[name] as (...args: ReadonlyArray<unknown>) => unknown
      return (...args: ReadonlyArray<unknown>): unknown => {
        before()
        return call(...args)
      }
    }
    Object.assign(Atomics, Object.fromEntries(accesses.map((name) => [name, hook(name)])))
    try {
      act()
    } finally {
      Object.assign(Atomics, real)
    }
    const isLast = seen <= at
    if (isLast) intrude()
    const failure = check()
    if (failure !== undefined) return `${failure}, in front of access ${at} of ${seen}`
    if (isLast) return at < 2 ? `an act of ${seen} accesses shows nothing` : undefined
  }
}
