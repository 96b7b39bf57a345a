/**
 * `handfast bus`: a member of a Redis or Valkey cluster that owns no slots. `join` shows nodes and
 * slots as they change, in place on a terminal; `watch` prints one JSON line for each change and
 * each publication; `publish` sends one.
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { NotPublished } from "../actors/bus/BusError.ts"
import { BusNode } from "../actors/bus/BusNode.ts"
import type { Missed, Published } from "../actors/bus/BusNode.ts"
import { slotCount } from "../schema/bus/Slots.ts"
import { asMember, joinFlags, seconds } from "./busJoining.ts"
import { painter } from "./busTable.ts"

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("One JSON object for each change"),
  Flag.withDefault(false)
)

/** Times on a terminal are drawn again so often. */
const redrawMs = 1_000

const show = Effect.fnUntraced(function* (isJson: boolean) {
  const bus = yield* BusNode
  const paint = painter(process.stdout)
  const views = Stream.zipLatest(bus.members, bus.slots)
  const isLive = process.stdout.isTTY && !isJson
  const moments = isLive
    ? Stream.map(Stream.zipLatest(views, Stream.tick(redrawMs)), ([view]) => view)
    : views
  yield* Stream.runForEach(moments, ([{ members, version }, { slots }]) =>
    Effect.gen(function* () {
      if (isJson) return yield* Console.log(JSON.stringify({ version, members, slots }))
      const text = paint({ members, slots, links: yield* bus.links })
      return yield* Effect.sync(() => void process.stdout.write(text))
    })
  )
})

const join = Command.make("join", { ...joinFlags, json, seconds }, (options) => {
  const joined = Effect.flatMap(BusNode, (bus) =>
    options.json ? Effect.void : Console.log(`Joined as ${bus.id} on ${bus.address}`)
  )
  return asMember(options, options.json, Effect.andThen(joined, show(options.json)))
}).pipe(
  Command.withDescription("Join a cluster as a member, and show its nodes, slots and links"),
  Command.withExamples([
    {
      command: "handfast bus join 127.0.0.1:6379",
      description: "Join through the client port or the bus port of a node"
    }
  ])
)

const utf8 = new TextDecoder("utf-8", { fatal: true })

/** Bytes as JSON: a text if they are one, otherwise hex digits. */
const shown = (bytes: Uint8Array): string | { readonly hex: string } => {
  try {
    return utf8.decode(bytes)
  } catch {
    return { hex: Buffer.from(bytes).toString("hex") }
  }
}

const publicationLine = (element: Published | Missed): object => {
  if (element._tag === "Missed") return element
  const { _tag, channel, from, moduleType, type } = element
  const message = shown(element.message)
  if (type !== "module") return { _tag, type, from, channel: shown(channel), message }
  // The name of a module is packed bits.
  return { _tag, type, from, module: Buffer.from(channel).toString("hex"), moduleType, message }
}

const watching = Effect.gen(function* () {
  const bus = yield* BusNode
  const lines = Stream.mergeAll(
    [
      Stream.map(bus.members, (view): object => ({ _tag: "Members", ...view })),
      Stream.map(bus.slots, (view): object => ({ _tag: "Slots", ...view })),
      Stream.map(bus.publications, publicationLine)
    ],
    { concurrency: "unbounded" }
  )
  yield* Stream.runForEach(lines, (line) => Console.log(JSON.stringify(line)))
})

const watch = Command.make("watch", { ...joinFlags, seconds }, (options) =>
  asMember(options, true, watching)
).pipe(
  Command.withDescription("Join a cluster, and print a JSON line for each change or publication"),
  Command.withExamples([
    {
      command: "handfast bus watch 127.0.0.1:6379 | grep Published",
      description: "Follow every publication in a cluster"
    }
  ])
)

/** No node of the cluster took a publication. */
class Untaken extends Schema.TaggedError<Untaken>()("Untaken", { detail: Schema.String }) {
  override get [Runtime.errorExitCode]() {
    return 10
  }
  override get [CliError.userMessage]() {
    return `Not published: ${this.detail}`
  }
}

const untaken = ({ message }: NotPublished) => new Untaken({ detail: message })

/** Waits until every node that is known is connected, and every slot has an owner. */
const complete = Effect.gen(function* () {
  const bus = yield* BusNode
  const isComplete = Effect.gen(function* () {
    const { connecting } = yield* bus.health
    const [view] = yield* Stream.runCollect(Stream.take(bus.slots, 1))
    const owned = view!.slots.reduce((sum, { slots: [first, last] }) => sum + last - first + 1, 0)
    return connecting === 0 && owned === slotCount
  })
  yield* Stream.runDrain(Stream.takeUntilEffect(bus.members, () => isComplete))
})

const publishFlags = {
  ...joinFlags,
  channel: Argument.String("CHANNEL"),
  message: Argument.String("MESSAGE"),
  shard: Flag.Boolean("shard").pipe(
    Flag.withDescription("Publish as SPUBLISH does, to the nodes that serve the channel's slot"),
    Flag.withDefault(false)
  )
}

const publish = Command.make("publish", publishFlags, ({ channel, message, shard, ...options }) => {
  const publishing = Effect.gen(function* () {
    const bus = yield* BusNode
    // A cluster that does not own all slots, or has lost nodes, is published to as it is.
    yield* Effect.timeoutOption(complete, options.nodeTimeout)
    const send = shard ? bus.publishShard : bus.publish
    const { closed, full, taken } = yield* Effect.mapError(send(channel, message), untaken)
    yield* Console.log(`Taken by ${taken} nodes, ${full} had no room, ${closed} not connected`)
  })
  return asMember(options, true, publishing)
}).pipe(
  Command.withDescription("Join a cluster, publish a message to its clients, and leave"),
  Command.withExamples([
    {
      command: "handfast bus publish 127.0.0.1:6379 news hello",
      description: "Publish to every subscriber of a channel"
    }
  ])
)

export const bus: Command.Command<"bus", {}, {}, unknown, never> = Command.make("bus").pipe(
  Command.withDescription("Be a member of a Redis or Valkey cluster"),
  Command.withSubcommands([join, watch, publish])
)
