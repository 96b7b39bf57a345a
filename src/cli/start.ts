/**
 * `handfast start`: the main job, told in a few seconds on this machine.
 *
 * Two processes pull memory from each other over software iWARP, all the time. One of them is slow
 * to get ready, is killed and comes back; then the network between them is cut. In the end the two
 * journals are read by a program that saw nothing of it. With the gate off the demo runs twice,
 * so that both are seen side by side.
 */
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { intBetween } from "./ranges.ts"
import { screenOn } from "./demo/screen.ts"
import { type Options, Demo, type ScheduledFault } from "./demo/orchestrator.ts"
import * as Telling from "./demo/telling.ts"
import type { DemoResult } from "./demo/result.ts"

/** The demo failed its audit: the exit code says so too. */
class PromiseBroken extends Schema.TaggedError<PromiseBroken>()("PromiseBroken", {
  what: Schema.Array(Schema.String)
}) {
  override get [CliError.userMessage]() {
    return `Broken: ${this.what.join(", ")}.`
  }
}

/** Shorter stories have no time for their faults, longer ones are a mistake. */
const [SHORTEST, LONGEST] = [2, 3_600]

const seconds = intBetween("seconds", SHORTEST, LONGEST).pipe(
  Flag.withDescription("How long the two processes work"),
  Flag.withDefault(8)
)
const seed = Flag.Int("seed").pipe(
  Flag.withDescription("What the memory holds"),
  Flag.withDefault(1)
)
const gate = Flag.Literals("gate", ["on", "off"]).pipe(
  Flag.withDescription("Off: both send as soon as their half is up"),
  Flag.withDefault("on")
)
const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print one JSON object instead"),
  Flag.withDefault(false)
)

/** Both find each other; one is lost and comes back; then the network is. */
const faultsOf = (millis: number): ReadonlyArray<ScheduledFault> => [
  { at: 0.3 * millis, what: "ben", millis: 0.1 * millis },
  { at: 0.65 * millis, what: "cut", millis: 0.1 * millis }
]

const tellOne = (options: Options): Effect.Effect<DemoResult, unknown> =>
  Effect.scoped(Effect.flatMap(Demo.begin(options), ({ run }) => run))

/** The results of a run for programs. */
const facts = (told: DemoResult) => ({ ...told, kept: Telling.broken(told).length === 0 })

export const start = Command.make(
  "start",
  { gate, json, seconds, seed },
  Effect.fnUntraced(
    function* ({ gate, json, seconds, seed }) {
      // A reader that has enough, as `head`, ends the demo.
      process.stdout.on("error", () => process.exit(1))
      const show = screenOn(process.stdout, json)
      for (const line of Telling.opening(gate)) show.line(line)
      const options = { seconds, seed, show, faults: faultsOf(1000 * seconds) }
      const runs: Array<{ readonly title: string; readonly told: DemoResult }> = []
      for (const each of gate === "on" ? (["on"] as const) : (["on", "off"] as const)) {
        if (gate === "off") show.line(`With the gate ${each}:`)
        const told = yield* tellOne({ ...options, gate: each })
        runs.push({ title: `gate ${each}`, told })
        show.line("")
      }
      const { told } = runs.at(-1)!
      const wrong = Telling.broken(told)
      const beside = runs.length > 1 ? { gateOn: facts(runs[0]!.told) } : {}
      if (json) yield* Console.log(JSON.stringify({ ...facts(told), ...beside }))
      for (const line of Telling.table(runs)) show.line(line)
      show.line("")
      if (wrong.length > 0) return yield* new PromiseBroken({ what: wrong })
      show.line(Telling.kept)
      return undefined
    },
    Effect.onInterrupt(() =>
      Effect.sync(() => process.stderr.write("\nStopped. Both processes are ended.\n"))
    )
  )
).pipe(
  Command.withDescription("Two processes, one killed, the network cut: is every promise kept?")
)
