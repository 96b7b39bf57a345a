/** How the commands of `handfast bus` join a cluster, and the exit codes of those that cannot. */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type { MeetFailed } from "../actors/bus/BusError.ts"
import { BusNode } from "../actors/bus/BusNode.ts"
import { IoPool } from "../native/io/IoPool.ts"
import { intBetween } from "./ranges.ts"

/** The exit code says why a node could not join. */
const exitCodes: Readonly<Record<MeetFailed["reason"], number>> = {
  BadAddress: 2,
  NoAnswer: 3,
  Myself: 4,
  OtherCluster: 5,
  CannotReachUs: 6,
  NotABus: 7,
  SpeaksTls: 8,
  TlsRefused: 9
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

/** Where a cluster is, and how to be a member of it. */
export const joinFlags = {
  address: Argument.String("HOST:PORT").pipe(
    Argument.withDescription("A node of the cluster: its bus port, or its client port")
  ),
  listen: Flag.String("listen").pipe(
    Flag.withDescription("The address of this machine that nodes connect to"),
    Flag.withDefault("127.0.0.1")
  ),
  nodeTimeout: intBetween("node-timeout", 100, 3_600_000).pipe(
    Flag.withDescription("The cluster's cluster-node-timeout in milliseconds"),
    Flag.withDefault(15_000)
  )
}

/** How long to stay a member. */
export const seconds = intBetween("seconds", 1, 86_400).pipe(
  Flag.withDescription("How long to stay, instead of until it is stopped"),
  Flag.optional
)

interface Joining {
  readonly address: string
  readonly listen: string
  readonly nodeTimeout: number
  readonly seconds?: Option.Option<number>
}

const notJoined = ({ detail, reason }: MeetFailed) =>
  new NotJoined({ reason, detail, code: exitCodes[reason] })

/** Joins through either port of a node; says so if it was the client port. */
const join = (address: string, isQuiet: boolean) =>
  Effect.flatMap(BusNode, (bus) =>
    Effect.catchTag(bus.meet(address), "MeetFailed", (failure) => {
      if (failure.bus === undefined) return Effect.fail(notJoined(failure))
      const told = `${address} serves clients; its bus is ${failure.bus}`
      return Effect.andThen(
        isQuiet ? Effect.void : Console.log(told),
        Effect.mapError(bus.meet(failure.bus), notJoined)
      )
    })
  )

/** Runs a program as a member of the cluster at an address. */
export const asMember = <A, E>(
  { address, listen: host, nodeTimeout, seconds }: Joining,
  isQuiet: boolean,
  program: Effect.Effect<A, E, BusNode>
) => {
  const node = BusNode.layerEphemeral({ listen: { host }, nodeTimeoutMs: nodeTimeout })
  const staying = Effect.andThen(join(address, isQuiet), program).pipe(
    Effect.provide(Layer.provide(node, IoPool.layer({ workers: 1 })))
  )
  return seconds?._tag === "Some"
    ? Effect.asVoid(Effect.timeoutOption(staying, `${seconds.value} seconds`))
    : Effect.asVoid(staying)
}
