/**
 * `handfast simulate NAME`: runs a simulation under many seeds, on all cores, and says whether what
 * must hold did. A failing seed is shown with its faults made few, and the line that repeats it.
 *
 * The seeds are divided among processes of this same command, each with a separate range, so the
 * first failing seed does not depend on their number.
 */
import { availableParallelism } from "node:os"
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { intBetween } from "./ranges.ts"
import { shares } from "../testing/internal/sim/shares.ts"
import * as Printout from "../testing/Printout.ts"
import * as Sim from "../testing/Sim.ts"
import type { Simulation } from "./simulations.ts"

/** More seeds than a year runs, and more processes than machines have cores. */
const [MOST_SEEDS, MOST_JOBS] = [1_000_000_000, 1_024]

class UnknownName extends Schema.TaggedError<UnknownName>()("UnknownName", {
  what: Schema.String,
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override readonly [Runtime.errorExitCode] = 2
  override get [CliError.userMessage]() {
    return `There is no ${this.what} ${JSON.stringify(this.name)}. Known: ${this.known.join(", ")}.`
  }
}

/** The exit code says it too; what broke has been printed. */
class Violated extends Schema.TaggedError<Violated>()("Violated", { simulation: Schema.String }) {
  override get [CliError.userMessage]() {
    return `What must hold in the simulation ${this.simulation} did not.`
  }
}

/** The result of one process. */
const Found = Schema.Struct({
  runs: Schema.Int,
  violations: Schema.Int,
  /** Seen in all executions, also in those that make the faults of a failing run fewer. */
  earlyPosts: Schema.Int,
  firstFailingSeed: Schema.NullOr(Schema.Int),
  deterministic: Schema.Boolean,
  /** The printout of the failing run. */
  shown: Schema.String
})
type Found = typeof Found.Type

interface Task {
  readonly name: string
  readonly seeds: number
  readonly from: number
  readonly gate: "on" | "off"
  readonly plant: string | undefined
}

const flagsOf = ({ from, gate, name, plant, seeds }: Task): ReadonlyArray<string> => [
  "simulate",
  name,
  `--seeds=${seeds}`,
  `--from=${from}`,
  `--gate=${gate}`,
  ...(plant === undefined ? [] : ["--plant", plant])
]

/** A step of a whole fabric is heavy: half a minute at the defaults. */
const shrinking = { shrinkSteps: 30_000, shrinkSeeds: 0 }

const run = Effect.fnUntraced(function* (simulation: Simulation, task: Task) {
  let earlyPosts = 0
  const program = simulation.program({
    gate: task.gate,
    plant: task.plant,
    onEarlyPosts: (count) => void (earlyPosts += count)
  })
  const report = yield* Sim.explore(program, { seeds: task.seeds, from: task.from, ...shrinking })
  const { deterministic, failure, failures, firstFailingSeed = null, runs } = report
  const again = flagsOf({ ...task, seeds: 1, from: firstFailingSeed ?? 0 }).join(" ")
  const shown = failure === undefined ? "" : Printout.failure(failure, report, `handfast ${again}`)
  return { runs, violations: failures, earlyPosts, firstFailingSeed, deterministic, shown }
})

/** A process that was to run seeds ended without a result. */
class ProcessFailed extends Schema.TaggedError<ProcessFailed>()("ProcessFailed", {
  detail: Schema.String
}) {
  override get [CliError.userMessage]() {
    return `A process that ran seeds has failed: ${this.detail}`
  }
}

const decodeFound = Schema.decodeUnknownOption(Schema.fromJsonString(Found))

const textOf = <E>(bytes: Stream.Stream<Uint8Array, E>): Effect.Effect<string, E> =>
  Stream.mkString(Stream.decodeText(bytes))

/** Runs a part of the seeds in a separate process. */
const runApart = Effect.fnUntraced(function* (task: Task) {
  const flags = [...flagsOf(task), "--jobs=1", "--json"]
  const child = yield* ChildProcess.make(process.execPath, [
    ...process.execArgv,
    process.argv[1]!,
    ...flags
  ])
  const texts = [textOf(child.stdout), textOf(child.stderr)] as const
  const [stdout, stderr] = yield* Effect.all(texts, { concurrency: 2 })
  const found = decodeFound(stdout)
  if (Option.isSome(found)) return found.value
  return yield* new ProcessFailed({ detail: stderr })
}, Effect.scoped)

const merge = (all: ReadonlyArray<Found>): Found => {
  const failed = all
    .filter(({ firstFailingSeed }) => firstFailingSeed !== null)
    .toSorted((a, b) => a.firstFailingSeed! - b.firstFailingSeed!)
  const sum = (pick: (found: Found) => number) => all.reduce((sum, one) => sum + pick(one), 0)
  return {
    runs: sum(({ runs }) => runs),
    violations: sum(({ violations }) => violations),
    earlyPosts: sum(({ earlyPosts }) => earlyPosts),
    firstFailingSeed: failed[0]?.firstFailingSeed ?? null,
    deterministic: all.every(({ deterministic }) => deterministic),
    shown: failed[0]?.shown ?? ""
  }
}

const seedOf = (flag: string) => intBetween(flag, 0, Number.MAX_SAFE_INTEGER)

const flags = {
  seeds: intBetween("seeds", 1, MOST_SEEDS).pipe(
    Flag.withDescription("How many seeds to run"),
    Flag.withDefault(200)
  ),
  from: seedOf("from").pipe(Flag.withDescription("The first seed"), Flag.withDefault(1)),
  seed: seedOf("seed").pipe(Flag.withDescription("Run this seed only"), Flag.optional),
  gate: Flag.Literals("gate", ["on", "off"]).pipe(
    Flag.withDescription("Off: each host sends as soon as its half is up"),
    Flag.withDefault("on")
  ),
  plant: Flag.String("plant").pipe(
    Flag.withAlias("variant"),
    Flag.withDescription("Plant a known defect, which the simulation has to find"),
    Flag.optional
  ),
  jobs: intBetween("jobs", 1, MOST_JOBS).pipe(
    Flag.withDescription("Processes at the same time. Default: one for each core"),
    Flag.withDefault(availableParallelism())
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print one JSON object instead"),
    Flag.withDefault(false)
  )
} as const

/** The command over a table of simulations. */
export const simulate = (simulations: Readonly<Record<string, Simulation>>) =>
  Command.make(
    "simulate",
    {
      name: Argument.String("name").pipe(
        Argument.withDescription(`The simulation: ${Object.keys(simulations).join(", ")}`)
      ),
      ...flags
    },
    Effect.fnUntraced(function* ({ from, gate, jobs, json, name, plant, seed, seeds }) {
      const simulation = Object.hasOwn(simulations, name) ? simulations[name] : undefined
      if (simulation === undefined) {
        const known = Object.keys(simulations)
        return yield* new UnknownName({ what: "simulation", name, known })
      }
      const defect = Option.getOrUndefined(plant)
      if (defect !== undefined && !simulation.defects.includes(defect)) {
        const known = simulation.defects
        return yield* new UnknownName({ what: "known defect", name: defect, known })
      }
      const one = Option.getOrUndefined(seed)
      const task: Task =
        one === undefined
          ? { name, seeds, from, gate, plant: defect }
          : { name, seeds: 1, from: one, gate, plant: defect }
      const parts = shares(task, jobs).map((share) => Object.assign({}, task, share))
      const found =
        parts.length === 1
          ? yield* run(simulation, task)
          : merge(yield* Effect.forEach(parts, runApart, { concurrency: "unbounded" }))
      const { deterministic, earlyPosts, runs, shown, violations } = found
      if (json) yield* Console.log(JSON.stringify(found))
      else {
        if (shown !== "") yield* Console.log(shown)
        yield* Console.log(
          `${runs} runs of ${name}: ${violations} violations, ${earlyPosts} early posts, ` +
            (deterministic ? "each run repeats exactly" : "NOT deterministic")
        )
      }
      if (violations > 0) return yield* new Violated({ simulation: name })
      return undefined
    })
  ).pipe(
    Command.withDescription("Run a seeded simulation with faults, and look for broken promises"),
    Command.withExamples([
      {
        command: "handfast simulate endpoint --seeds 1000",
        description: "A thousand runs of hosts that move memory between each other"
      },
      {
        command: "handfast simulate endpoint --gate off",
        description: "The same without the gate: it finds hosts that send too soon"
      },
      {
        command: "handfast simulate rpc --variant linux-7c8d9e7c",
        description: "Callers that are woken before Receives are posted for their replies"
      },
      {
        command: "handfast simulate bus --plant fooled-by-sleep",
        description: "Members of a cluster bus that hold their own sleep against their peers"
      }
    ])
  )
