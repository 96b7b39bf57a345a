/**
 * `handfast bus join HOST:PORT`: joins a Redis or Valkey cluster as a member without slots, and
 * shows its nodes, slots and links as they change. In place on a terminal, otherwise as lines.
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type MeetFailed } from "../actors/bus/BusError.ts"
import { BusNode, type MembersView, type SlotsView } from "../actors/bus/BusNode.ts"
import { IoPool } from "../native/io/IoPool.ts"
import { findBus } from "./busAddress.ts"
import { intBetween } from "./ranges.ts"

/** The exit code says why a node could not join. */
const exitCodes: Readonly<Record<MeetFailed["reason"], number>> = {
  NoAnswer: 3,
  Myself: 4,
  OtherCluster: 5,
  CannotReachUs: 6,
  BadAddress: 2
}

class NotJoined extends Schema.TaggedError<NotJoined>()("NotJoined", {
  reason: Schema.String,
  detail: Schema.String,
  code: Schema.Int
}) {
  override get [Runtime.errorExitCode]() {
    return this.code
  }
  override get [CliError.userMessage]() {
    return `Not joined (${this.reason}): ${this.detail}`
  }
}

const address = Argument.String("HOST:PORT").pipe(
  Argument.withDescription("A node of the cluster: its bus port, or its client port")
)
const listen = Flag.String("listen").pipe(
  Flag.withDescription("The address of this machine that nodes connect to"),
  Flag.withDefault("127.0.0.1")
)
const nodeTimeout = intBetween("node-timeout", 100, 3_600_000).pipe(
  Flag.withDescription("The cluster's cluster-node-timeout in milliseconds"),
  Flag.withDefault(15_000)
)
const seconds = intBetween("seconds", 1, 86_400).pipe(
  Flag.withDescription("How long to stay, instead of until it is stopped"),
  Flag.optional
)
const json = Flag.Boolean("json").pipe(
  Flag.withDescription("One JSON object for each change"),
  Flag.withDefault(false)
)

const slotsText = (view: SlotsView, id: string): string =>
  view.slots
    .filter((owner) => owner.id === id)
    .map(({ slots: [first, last] }) => (first === last ? `${first}` : `${first}-${last}`))
    .join(" ")

/** One line a node: its id, address, role, state and slots. */
const table = (members: MembersView, slots: SlotsView): ReadonlyArray<string> =>
  members.members.map(({ busPort, id, ip, role, state }) => {
    const at = `${ip}:${busPort}`.padEnd(22)
    return `${id.slice(0, 12)}  ${at}${role.padEnd(9)}${state.padEnd(12)}${slotsText(slots, id)}`
  })

/** Draws over what was drawn before, on a terminal. */
const drawer = (): ((lines: ReadonlyArray<string>) => string) => {
  let drawn = 0
  return (lines) => {
    const up = process.stdout.isTTY && drawn > 0 ? `\u001b[${drawn}A\u001b[J` : ""
    drawn = lines.length
    return up + lines.join("\n")
  }
}

const show = Effect.fnUntraced(function* (isJson: boolean) {
  const bus = yield* BusNode
  const draw = drawer()
  const views = Stream.zipLatest(bus.members, bus.slots)
  yield* Stream.runForEach(views, ([members, slots]) => {
    if (isJson) return Console.log(JSON.stringify({ ...members, slots: slots.slots }))
    if (members.members.length === 0) return Effect.void
    return Console.log(draw(table(members, slots)))
  })
})

const joining = Effect.fnUntraced(function* (address: string, isJson: boolean) {
  const bus = yield* BusNode
  yield* Effect.mapError(
    bus.meet(address),
    ({ detail, reason }) => new NotJoined({ reason, detail, code: exitCodes[reason] })
  )
  if (!isJson) yield* Console.log(`Joined as ${bus.id} on ${bus.address}`)
  return yield* show(isJson)
})

const join = Command.make(
  "join",
  { address, json, listen, nodeTimeout, seconds },
  Effect.fnUntraced(function* ({ address, json, listen: host, nodeTimeout, seconds }) {
    const [, name, port] = /^\[?(.+?)\]?:(\d+)$/.exec(address) ?? []
    if (name === undefined || Number(port) > 65_535) {
      const detail = `${JSON.stringify(address)} is not HOST:PORT`
      return yield* new NotJoined({ reason: "BadAddress", detail, code: exitCodes.BadAddress })
    }
    const found = yield* findBus(name, Number(port))
    if (found.foundBy !== undefined && !json) {
      yield* Console.log(`${address} serves clients; its bus is ${found.address}`)
    }
    const node = BusNode.layerEphemeral({ listen: { host }, nodeTimeoutMs: nodeTimeout })
    const stay = joining(found.address, json).pipe(
      Effect.provide(Layer.provide(node, IoPool.layer({ workers: 1 })))
    )
    if (seconds._tag === "None") return yield* stay
    return yield* Effect.timeoutOption(stay, `${seconds.value} seconds`)
  })
).pipe(
  Command.withDescription("Join a cluster as a member, and show its nodes, slots and links"),
  Command.withExamples([
    {
      command: "handfast bus join 127.0.0.1:6379",
      description: "Join through the client port or the bus port of a node"
    }
  ])
)

export const bus = Command.make("bus").pipe(
  Command.withDescription("Be a member of a Redis or Valkey cluster"),
  Command.withSubcommands([join])
)
