/**
 * `handfast start`: the main job, told in a few seconds on this machine.
 *
 * Two processes pull memory from each other over software iWARP, all the time. One of them is slow
 * to get ready, is killed and comes back; then the network between them is cut. In the end the two
 * journals are read by somebody who saw nothing of it.
 */
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { PIECE } from "./start/messages.ts"
import { type Scene, Story, type Told, type Trouble } from "./start/story.ts"

/** The story failed its own audit: the exit code says so too. */
class PromiseBroken extends Schema.TaggedError<PromiseBroken>()("PromiseBroken", {
  what: Schema.Array(Schema.String)
}) {
  override get [CliError.userMessage]() {
    return `Broken: ${this.what.join(", ")}.`
  }
}

/** What must not be, in words. */
const broken = (told: Told): ReadonlyArray<string> => [
  ...(told.early > 0 ? [`${told.early} times somebody could send before its peer was ready`] : []),
  ...(told.accepted === told.ended ? [] : [`${told.accepted - told.ended} transfers never ended`]),
  ...(told.failed > 0 ? [`${told.failed} transfers failed`] : []),
  ...(told.twice > 0 ? [`${told.twice} transfers ended twice`] : []),
  ...(told.wrong > 0 ? [`${told.wrong} pieces are not what the peer has`] : [])
]

const seconds = Flag.Int("seconds").pipe(
  Flag.withDescription("How long the two processes work"),
  Flag.withDefault(8)
)
const seed = Flag.Int("seed").pipe(
  Flag.withDescription("What the memory holds"),
  Flag.withDefault(1)
)
const gate = Flag.Literals("gate", ["on", "off"]).pipe(
  Flag.withDescription("Off: both send as soon as their own half is up"),
  Flag.withDefault("on")
)
const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print one JSON object instead"),
  Flag.withDefault(false)
)

/** Both find each other; one is lost and comes back; then the network is. */
const troublesOf = (millis: number): ReadonlyArray<Trouble> => [
  { at: 0.3 * millis, what: "ben", millis: 0.1 * millis },
  { at: 0.65 * millis, what: "cut", millis: 0.1 * millis }
]

const WIDTH = 30

const bar = ({ millis, pieces, seconds }: Scene): string => {
  const done = Math.min(1, millis / (1000 * seconds))
  const filled = Math.round(WIDTH * done)
  const megabytes = Math.round((pieces * PIECE) / 1e6)
  return `  [${"#".repeat(filled)}${".".repeat(WIDTH - filled)}] ${megabytes} MB moved`
}

/** Shows what happens: a bar that is drawn over itself on a terminal, and lines above it. */
const screen = (isQuiet: boolean) => {
  const isTerminal = process.stdout.isTTY === true
  const print = (text: string) => void (isQuiet || process.stdout.write(text))
  return {
    line: (text: string) => print(isTerminal ? `\r\u001B[K${text}\n` : `${text}\n`),
    progress: (scene: Scene) => {
      if (isTerminal) print(`\r\u001B[K${bar(scene)}`)
    }
  }
}

export const start = Command.make(
  "start",
  { gate, json, seconds, seed },
  Effect.fnUntraced(function* ({ gate, json, seconds, seed }) {
    const show = screen(json)
    show.line(
      "Two processes pull memory from each other over software iWARP, with journals in SQLite."
    )
    show.line("ben's queue pairs are slow: a step takes 40 ms. Who sends at once sends too soon.\n")
    const troubles = troublesOf(1000 * seconds)
    const story = yield* Story.begin({ gate, seconds, seed, show, troubles })
    const told = yield* story.tell
    const wrong = broken(told)
    if (json) yield* Console.log(JSON.stringify({ ...told, kept: wrong.length === 0 }))
    const recovered = told.recoveryMillis.map((millis) => `${Math.round(millis)} ms`).join(", ")
    show.line(`\n  accepted     ${told.accepted} transfers, ${told.megabytes} MB moved`)
    show.line(`  ended        ${told.ended} of them, ${told.failed} failed, ${told.twice} twice`)
    show.line(`  recovered    after ${recovered}`)
    show.line(`  too soon     ${told.early} of ${told.generations} connections`)
    show.line(`  stale        ${told.staleDropped} results of older connections dropped\n`)
    if (wrong.length > 0) return yield* new PromiseBroken({ what: wrong })
    show.line("Kept: nobody spoke too soon, and every accepted transfer ended once.")
    return undefined
  }, Effect.scoped)
).pipe(
  Command.withDescription("Two processes, one killed, the network cut: is every promise kept?")
)
