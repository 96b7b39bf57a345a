/**
 * `handfast peer`: plays a peer that misbehaves on real sockets, to see what becomes of a program
 * that has to do with it. `bus` plays a member of a Redis or Valkey cluster.
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { parseAddress } from "../actors/bus/internal/addresses.ts"
import * as BusPeer from "../testing/BusPeer.ts"
import { seconds, within } from "./busJoining.ts"

/** What was asked for makes no sense, or nothing answers there. */
class NotPlayed extends Schema.TaggedError<NotPlayed>()("NotPlayed", {
  detail: Schema.String,
  code: Schema.Int
}) {
  override get [Runtime.errorExitCode]() {
    return this.code
  }
  override get [CliError.userMessage]() {
    return this.detail
  }
}

const usage = (detail: string) => new NotPlayed({ detail, code: 2 })
const noAnswer = (detail: string) => new NotPlayed({ detail, code: 3 })

const described = BusPeer.names
  .map((name) => `${name}: ${BusPeer.scripts[name].description}`)
  .join(". ")

const flags = {
  address: Argument.String("HOST:PORT").pipe(
    Argument.withDescription("The bus port of a node of the cluster")
  ),
  script: Flag.Literals("script", BusPeer.names).pipe(Flag.withDescription(described)),
  id: Flag.String("id").pipe(
    Flag.withDescription("The id to speak under, 40 hex digits. Default: a new one"),
    Flag.filter(
      (id) => /^[0-9a-f]{40}$/.test(id),
      () => "40 hex digits"
    ),
    Flag.optional
  ),
  listen: Flag.String("listen").pipe(
    Flag.withDescription("The address of this machine to listen at and to dial from"),
    Flag.withDefault("127.0.0.1")
  ),
  seconds
}

const toldOf = (event: BusPeer.PeerEvent): string => {
  switch (event._tag) {
    case "Joined":
      return "Joined: links lead both ways"
    case "Failed":
      return `A link could not be opened: ${event.detail}`
    case "Opened":
      return event.isDialled ? "Opened a link" : "Took a link"
    case "Closed": {
      const link = event.isDialled ? "a link that it had dialled" : "a link that it had taken"
      return event.byUs ? `Ended ${link}` : `The other side ended ${link}`
    }
  }
}

const bus = Command.make("bus", flags, (options) =>
  Effect.gen(function* () {
    const to = parseAddress(options.address)
    if (to === undefined) return yield* usage(`${options.address} is not host:port`)
    const id = Option.getOrUndefined(options.id)
    if (options.script === "impostor" && id === undefined) {
      return yield* usage("an impostor needs the --id of another member")
    }
    const unreached = yield* Deferred.make<never, NotPlayed>()
    const run = Effect.runForkWith(yield* Effect.context<never>())
    let hasOpened = false
    const onEvent = (event: BusPeer.PeerEvent) => {
      hasOpened ||= event._tag === "Opened"
      const isOver = event._tag === "Failed" && !hasOpened
      const detail = `nothing takes connections at ${options.address}`
      run(isOver ? Deferred.fail(unreached, noAnswer(detail)) : Console.log(toldOf(event)))
    }
    const { port } = yield* BusPeer.start(options.script, {
      to: { host: to.ip, port: to.busPort },
      host: options.listen,
      onEvent,
      ...(id === undefined ? {} : { id })
    }).pipe(Effect.mapError(({ message }) => usage(`cannot listen: ${message}`)))
    yield* Console.log(`Plays ${options.script} at ${options.listen}:${port}`)
    return yield* within(options.seconds, Deferred.await(unreached))
  }).pipe(
    Effect.scoped,
    Effect.onInterrupt(() => Effect.sync(() => process.stderr.write("\nStopped.\n")))
  )
).pipe(
  Command.withDescription("Play a member of a Redis or Valkey cluster that misbehaves"),
  Command.withExamples([
    {
      command: "handfast peer bus --script slow 127.0.0.1:16379",
      description: "Join a cluster, and read a kilobyte a second"
    }
  ])
)

export const peer: Command.Command<"peer", {}, {}, unknown, never> = Command.make("peer").pipe(
  Command.withDescription("Play a peer that misbehaves, to test other programs"),
  Command.withSubcommands([bus])
)
