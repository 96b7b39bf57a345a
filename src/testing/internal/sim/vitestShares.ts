/**
 * Runs parts of a test's seeds in vitest processes of their own. A process gets its part by its
 * environment, and returns the result by a pipe.
 */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { isMainThread } from "node:worker_threads"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { workerModule } from "../../../native/io/workerModule.ts"
import { errorText } from "./errorText.ts"
import { addMarks, type Report } from "./explore.ts"
import { noteFound, resultPipe, type Share } from "./shares.ts"
import type { Strikes } from "./strikes.ts"
import { fullName, namePattern, type Test } from "./testNames.ts"
import type { Mark } from "./simulator.ts"

/** The environment variable that makes a process run one share of one test. */
const variable = "SIM_SHARE"

const Task = Schema.Struct({
  test: Schema.String,
  from: Schema.Int,
  seeds: Schema.Int
})

/** A share of a test. */
export type Task = typeof Task.Type

const Found = Schema.Struct({
  runs: Schema.Int,
  failures: Schema.Int,
  firstFailingSeed: Schema.NullOr(Schema.Int),
  timedOut: Schema.Boolean,
  deterministic: Schema.Boolean,
  checked: Schema.Int,
  marks: Schema.Record(Schema.String, Schema.Struct({ reached: Schema.Int, hits: Schema.Int })),
  faults: Schema.Record(Schema.String, Schema.Struct({ planned: Schema.Int, struck: Schema.Int })),
  steps: Schema.Int,
  millis: Schema.Finite
})

/** The result of a share. */
export type Found = typeof Found.Type

/** A process that was to run a share of the seeds ended without a result, or with errors. */
export class ShareFailed extends Schema.TaggedError<ShareFailed>()("ShareFailed", {
  from: Schema.Int,
  seeds: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    const last = this.from + this.seeds - 1
    return `the process for the seeds ${this.from} to ${last} failed: ${this.detail}`
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** The share of this process, if it has one. */
export const taskOf = (env: Environment): Task | undefined => {
  const text = env[variable]
  return text === undefined || text === ""
    ? undefined
    : Schema.decodeSync(Schema.fromJsonString(Task))(text)
}

/** Returns the result of a share, which this process's reporter finds in the test. */
export const answer = (meta: object, report: Report): void => {
  const { checked, deterministic, failures, firstFailingSeed = null, marks, runs } = report
  const { faults, millis, steps, timedOut } = report
  const counts = { runs, failures, checked, steps, millis }
  const found: Found = { ...counts, firstFailingSeed, timedOut, deterministic, marks, faults }
  noteFound(meta, found)
}

/** The report of all shares together, as if one process had run them; without the failing run. */
export const mergeFound = (all: ReadonlyArray<Found>): Report => {
  const sum = (pick: (found: Found) => number) => all.reduce((sum, one) => sum + pick(one), 0)
  const merged = new Map<string, Mark>()
  for (const { marks } of all) addMarks(merged, new Map(Object.entries(marks)))
  const marks = [...merged]
  const faults = new Map<string, Strikes>()
  for (const [sort, { planned, struck }] of all.flatMap((one) => Object.entries(one.faults))) {
    const before = faults.get(sort) ?? { planned: 0, struck: 0 }
    faults.set(sort, { planned: before.planned + planned, struck: before.struck + struck })
  }
  return {
    runs: sum(({ runs }) => runs),
    failures: sum(({ failures }) => failures),
    firstFailingSeed:
      all.find((one) => one.firstFailingSeed !== null)?.firstFailingSeed ?? undefined,
    timedOut: all.some(({ timedOut }) => timedOut),
    deterministic: all.every(({ deterministic }) => deterministic),
    checked: sum(({ checked }) => checked),
    marks: Object.fromEntries(marks),
    missed: marks.filter(([, { hits }]) => hits === 0).map(([name]) => name),
    faults: Object.fromEntries(faults),
    neverStruck: [...faults].filter(([, { struck }]) => struck === 0).map(([sort]) => sort),
    fingerprint: undefined,
    placed: undefined,
    steps: sum(({ steps }) => steps),
    millis: sum(({ millis }) => millis),
    failure: undefined
  }
}

/** The command line of vitest itself: this process is a worker of it, or has one as a thread. */
const commandLine = (): ReadonlyArray<string> => {
  try {
    const pid = isMainThread ? process.ppid : process.pid
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
  } catch {
    return []
  }
}

/** Settings of vitest that decide which files there are and how they are read. */
const inherited = /^(--config|-c|--root|-r|--dir|--project|--mode|--environment)(=|$)/

/** The part of vitest's command line that a second vitest needs too. */
export const inheritedFlags = (command: ReadonlyArray<string>): ReadonlyArray<string> =>
  command.flatMap((word, index) => {
    const match = inherited.exec(word)
    if (match === null) return []
    const next = command[index + 1]
    return match[2] === "=" || next === undefined ? [word] : [word, next]
  })

const vitestOf = (command: ReadonlyArray<string>): string =>
  command.find((word) => /[\\/]vitest(\.mjs)?$/.test(word)) ??
  join(process.cwd(), "node_modules/vitest/vitest.mjs")

const shareParent = workerModule(import.meta.url, "shareParent")
const shareReporter = workerModule(import.meta.url, "shareReporter")

/** The longest output of a process that failed, from its end. */
const longestDetail = 2_000

const decodeFound = Schema.decodeSync(Schema.fromJsonString(Found))

/** The result that a process has returned. Two tests of one name return one each. */
const readFound = (answers: string, name: string): Found => {
  const lines = answers.split("\n").filter((line) => line !== "")
  if (lines.length > 1) {
    throw new Error(`two tests are named "${name}": SIM_WORKERS needs a name for each`)
  }
  return decodeFound(lines[0] ?? "")
}

const runShare = (test: Test, share: Share) =>
  Effect.callback<Found, ShareFailed>((resume) => {
    const task: Task = { test: fullName(test), ...share }
    const command = commandLine()
    const words = ["--import", shareParent.href, vitestOf(command), "run"]
    const reporters = ["--reporter=default", `--reporter=${fileURLToPath(shareReporter)}`]
    const selected = [...reporters, test.file, "-t", namePattern(test)]
    const child = spawn(process.execPath, [...words, ...inheritedFlags(command), ...selected], {
      env: { ...process.env, [variable]: JSON.stringify(task) },
      stdio: ["pipe", "pipe", "pipe", "pipe"]
    })
    const failed = (detail: string) =>
      resume(Effect.fail(new ShareFailed({ ...share, detail: detail.slice(-longestDetail) })))
    child.on("error", (error) => failed(String(error)))
    const answered = text(child.stdio[resultPipe] as Readable)
    const printed = [text(child.stdout), text(child.stderr)] as const
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
    void Promise.all([ended, answered, ...printed]).then(([code, answers, stdout, stderr]) => {
      // A seed that fails is a result. Other failures of a test, such as a hook or an unhandled
      // promise, would fail this one in a single process, too.
      if (code !== 0) return failed(stdout + stderr)
      try {
        resume(Effect.succeed(readFound(answers, task.test)))
      } catch (error) {
        failed(`${stdout}${stderr}${errorText(error)}`)
      }
    })
    return Effect.sync(() => child.kill())
  })

/**
 * Runs all shares at the same time. Returns the results of those up to the first in which
 * `stopAfter` seeds failed; the later ones are stopped then.
 */
export const runShares = Effect.fnUntraced(function* (
  test: Test,
  shares: ReadonlyArray<Share>,
  stopAfter: number
) {
  const fibers = yield* Effect.forEach(shares, (share) => Effect.forkScoped(runShare(test, share)))
  const all: Array<Found> = []
  let failures = 0
  for (const fiber of fibers) {
    const found = yield* Fiber.join(fiber)
    all.push(found)
    failures += found.failures
    if (failures >= stopAfter) break
  }
  return all
}, Effect.scoped)
