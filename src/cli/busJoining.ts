/** How the commands of `handfast bus` join a cluster, and the exit codes of those that cannot. */
import { readFileSync } from "node:fs"
import { createSecureContext } from "node:tls"
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
import { Journal } from "../actors/kernel/Journal.ts"
import { IoPool, type TlsSettings } from "../native/io/IoPool.ts"
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

/** TLS as `redis-cli` is told of it. All nodes of a cluster share one authority. */
const tlsFlags = {
  tls: Flag.Boolean("tls").pipe(
    Flag.withDescription("Speak TLS both ways: needs --cert, --key and --cacert"),
    Flag.withDefault(false)
  ),
  cert: Flag.File("cert", { mustExist: true }).pipe(
    Flag.withDescription("The certificate that this node shows, in PEM"),
    Flag.optional
  ),
  key: Flag.File("key", { mustExist: true }).pipe(
    Flag.withDescription("Its private key, in PEM"),
    Flag.optional
  ),
  cacert: Flag.File("cacert", { mustExist: true }).pipe(
    Flag.withDescription("The authority that has to have signed the certificates of all nodes"),
    Flag.optional
  )
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
  ),
  journal: Flag.String("journal").pipe(
    Flag.withDescription("A file that keeps the id of this node: it is the same one each time"),
    Flag.optional
  ),
  ...tlsFlags
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
  readonly journal: Option.Option<string>
  readonly tls: boolean
  readonly cert: Option.Option<string>
  readonly key: Option.Option<string>
  readonly cacert: Option.Option<string>
  readonly seconds?: Option.Option<number>
}

/** Flags that do not belong together, or values with which no node starts. */
class FlagsUnusable extends Schema.TaggedError<FlagsUnusable>()("FlagsUnusable", {
  detail: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 2
  override get [CliError.userMessage]() {
    return this.detail
  }
}

const readText = (file: string): Effect.Effect<string, FlagsUnusable> =>
  Effect.try({
    try: () => readFileSync(file, "utf8"),
    catch: (cause) => new FlagsUnusable({ detail: `${file} cannot be read: ${cause}` })
  })

/** The TLS settings that the flags say; undefined without TLS. */
const tlsOf = Effect.fnUntraced(function* ({ cacert, cert, key, tls }: Joining) {
  const files = [cert, key, cacert].flatMap((file) => (file._tag === "Some" ? [file.value] : []))
  if (files.length !== (tls ? 3 : 0)) {
    const detail = "--tls, --cert, --key and --cacert go together"
    return yield* new FlagsUnusable({ detail })
  }
  if (!tls) return undefined
  const [certText, keyText, ca] = yield* Effect.forEach(files, readText)
  try {
    createSecureContext({ cert: certText, key: keyText, ca })
  } catch (cause) {
    return yield* new FlagsUnusable({ detail: `--cert, --key and --cacert do not fit: ${cause}` })
  }
  return { cert: certText!, key: keyText!, ca: ca!, verify: "chain" } satisfies TlsSettings
})

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

/** Others keep a node that has left in their tables, as one that has failed. */
const leave = Effect.map(BusNode, ({ id }) => {
  process.stderr.write(`Left. Nodes list this one until they are told: CLUSTER FORGET ${id}\n`)
})

/** Ends an effect after so many seconds, if there is a number. */
export const within = <A, E, R>(
  seconds: Option.Option<number> | undefined,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<void, E, R> =>
  seconds?._tag === "Some"
    ? Effect.asVoid(Effect.timeoutOption(effect, `${seconds.value} seconds`))
    : Effect.asVoid(effect)

/** Runs a program as a member of the cluster at an address. */
export const asMember = <A, E>(
  options: Joining,
  isQuiet: boolean,
  program: Effect.Effect<A, E, BusNode>
) =>
  Effect.gen(function* () {
    const { address, journal, listen: host, nodeTimeout, seconds } = options
    const tls = yield* tlsOf(options)
    const settings = {
      listen: { host },
      nodeTimeoutMs: nodeTimeout,
      ...(tls === undefined ? {} : { tls })
    }
    const isKept = journal._tag === "Some"
    const node = (
      isKept
        ? Layer.provide(BusNode.layer(settings), Journal.layerSqlite({ file: journal.value }))
        : BusNode.layerEphemeral(settings)
    ).pipe(
      Layer.catchTag("BusRefused", ({ detail }) =>
        Layer.effect(BusNode, Effect.fail(new FlagsUnusable({ detail })))
      )
    )
    const left = isKept ? Effect.void : leave
    const staying = Effect.andThen(join(address, isQuiet), Effect.ensuring(program, left))
    const pool = IoPool.layer({ workers: 1 })
    yield* within(seconds, Effect.provide(staying, Layer.provide(node, pool)))
  })
