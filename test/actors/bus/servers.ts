/** Real servers of one cluster on loopback, each with a directory of its own. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { pathOf } from "../../peerPaths.ts"
import { type Peer, peer } from "../../peers.ts"
import { type Tap, tapped } from "./tap.ts"

const exec = promisify(execFile)

/** A kind of server, and where kinds differ. */
export interface Kind {
  readonly peer: Peer
  /** It takes light frames, and sends them. */
  readonly isLight: boolean
  /** Its nodes tell each other which shard they are of. */
  readonly tellsShards: boolean
  /** Its nodes tell each other of a CLUSTER FORGET. */
  readonly tellsForget: boolean
}

export const kinds: ReadonlyArray<Kind> = [
  { peer: "redis-server", isLight: false, tellsShards: false, tellsForget: false },
  { peer: "redis-server-8", isLight: false, tellsShards: true, tellsForget: true },
  { peer: "valkey-server-8", isLight: true, tellsShards: true, tellsForget: true }
]

/** Its name and version, as it says them. */
const titleOf = ({ peer }: Kind): string => {
  const { stdout } = spawnSync(pathOf(peer), ["--version"], { encoding: "utf8" })
  const [, name, version] = /^(\w+) server v=(\S+)/.exec(stdout ?? "") ?? []
  return name === undefined ? peer : `${name.toLowerCase()} ${version}`
}

/** A suite for each kind of server: those that are missing are said to be. */
export const eachKind = (name: string, suite: (kind: Kind) => void): void => {
  for (const kind of kinds) {
    // Its package brings redis-cli, which speaks with all of them.
    const peers = [...new Set<Peer>([kind.peer, "redis-server"])]
    peer(peers, `${name} of ${titleOf(kind)}`, () => suite(kind))
  }
}

export interface Server {
  readonly kind: Kind
  readonly port: number
  /** The port that other nodes know. */
  readonly busPort: number
  readonly id: string
  readonly tap: Tap | undefined
  /** Runs a command, and returns what `redis-cli` prints. */
  readonly ask: (...command: ReadonlyArray<string>) => Effect.Effect<string>
  readonly kill: Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly restart: Effect.Effect<void>
}

/** A port that nothing listens on. */
export const freePort = Effect.promise(
  () =>
    new Promise<number>((resolve) => {
      const server = net.createServer().listen(0, "127.0.0.1", () => {
        const { port } = server.address() as net.AddressInfo
        server.close(() => resolve(port))
      })
    })
)

/** Waits until a condition holds; the test's own timeout is its bound. */
export const until = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  condition.pipe(
    Effect.repeat({ schedule: Schedule.spaced(50), until: (holds) => holds }),
    Effect.asVoid
  )

/** How servers of a cluster run. */
export interface ServerOptions {
  readonly kind: Kind
  /** Their `cluster-node-timeout` in milliseconds. */
  readonly timeoutMs: number
  /** Whether clients and the bus use TLS, with a certificate of the test authority. */
  readonly tls?: boolean
  /** Whether other nodes reach its bus through a relay that records frames. */
  readonly isTapped?: boolean
}

const pem = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/tls/${name}.pem`, import.meta.url))

const tlsClient = ["--tls", "--cert", pem("client"), "--key", pem("client-key")].concat([
  "--cacert",
  pem("ca")
])

const tlsServer = (port: number) =>
  [
    ["--port", "0", "--tls-port", `${port}`, "--tls-cluster", "yes", "--tls-replication", "yes"],
    ["--tls-cert-file", pem("server"), "--tls-key-file", pem("server-key")],
    ["--tls-ca-cert-file", pem("ca")]
  ].flat()

/** The flags with which `redis-cli` reaches a server. */
export const cliFlags = (port: number, tls: boolean): ReadonlyArray<string> => [
  "-p",
  `${port}`,
  ...(tls ? tlsClient : [])
]

const cli = (
  port: number,
  command: ReadonlyArray<string>,
  { tls = false }: Pick<ServerOptions, "tls">
): Effect.Effect<string> =>
  Effect.promise(async () => {
    try {
      const { stdout } = await exec("redis-cli", [...cliFlags(port, tls), ...command])
      return stdout
    } catch (error) {
      return String(error)
    }
  })

const exited = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    return undefined
  })

interface Place {
  readonly directory: string
  readonly port: number
  /** The port that it listens on, and the one that it tells others. */
  readonly busPort: number
  readonly toldBusPort: number
}

const run = (
  { busPort, directory, port, toldBusPort }: Place,
  { kind, timeoutMs, tls = false }: ServerOptions
): ChildProcess =>
  spawn(
    pathOf(kind.peer),
    [
      tls ? tlsServer(port) : ["--port", `${port}`],
      ["--bind", "127.0.0.1", "--dir", directory, "--save", ""],
      ["--cluster-enabled", "yes", "--cluster-port", `${busPort}`],
      ["--cluster-announce-bus-port", `${toldBusPort}`],
      ["--cluster-node-timeout", `${timeoutMs}`, "--daemonize", "no", "--logfile", "log"],
      ["--enable-debug-command", "yes"]
    ].flat(),
    { stdio: "ignore" }
  )

/** A server in cluster mode, alone. It ends with the Scope. */
export const server = Effect.fnUntraced(function* (options: ServerOptions) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-server-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const [port, busPort] = [yield* freePort, yield* freePort]
  const tap = options.isTapped === true ? yield* tapped(busPort) : undefined
  const place = { directory, port, busPort, toldBusPort: tap?.port ?? busPort }
  const ask = (...command: ReadonlyArray<string>) => cli(port, command, options)
  const start = Effect.sync(() => run(place, options))
  let child = yield* start
  const kill = Effect.suspend(() => {
    child.kill("SIGKILL")
    return exited(child)
  })
  yield* Effect.addFinalizer(() => kill)
  const isUp = Effect.map(ask("ping"), (text) => text.startsWith("PONG"))
  yield* until(isUp)
  const id = (yield* ask("cluster", "myid")).trim()
  return {
    kind: options.kind,
    port,
    busPort: place.toldBusPort,
    id,
    tap,
    ask,
    kill,
    signal: (signal) => Effect.sync(() => void child.kill(signal)),
    restart: Effect.andThen(
      Effect.andThen(
        kill,
        Effect.map(start, (started) => void (child = started))
      ),
      until(isUp)
    )
  } satisfies Server
})

/** Primaries of one cluster that share all slots. */
export const cluster = Effect.fnUntraced(function* (count: number, options: ServerOptions) {
  const servers = yield* Effect.all(
    Array.from({ length: count }, () => server(options)),
    { concurrency: "unbounded" }
  )
  const [first] = servers
  for (const [k, { ask, busPort, port }] of servers.entries()) {
    const [from, to] = [Math.ceil((16_384 * k) / count), Math.ceil((16_384 * (k + 1)) / count) - 1]
    yield* ask("cluster", "addslotsrange", `${from}`, `${to}`)
    if (k > 0) yield* first!.ask("cluster", "meet", "127.0.0.1", `${port}`, `${busPort}`)
  }
  for (const { ask } of servers) {
    yield* until(Effect.map(ask("cluster", "info"), (text) => text.includes("cluster_state:ok")))
  }
  return servers
})

/** What a server pushes to a client that has subscribed to a channel. */
export const subscribed = (
  port: number,
  command: "SUBSCRIBE" | "SSUBSCRIBE",
  channel: string
): Effect.Effect<{ text: string }, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ client: { text: string }; socket: net.Socket }>((resume) => {
        const client = { text: "" }
        const socket = net.connect(port, "127.0.0.1", () => {
          socket.write(`${command} ${channel}\r\n`)
        })
        socket.setEncoding("latin1").on("error", () => {})
        socket.on("data", (part: string) => {
          client.text += part
          resume(Effect.succeed({ client, socket }))
        })
      }),
      ({ socket }) => Effect.sync(() => void socket.destroy())
    ),
    ({ client }) => client
  )

/** The line about a node in CLUSTER NODES: its flags, its address and its link state. */
export const lineOf = (
  server: Server,
  id: string
): Effect.Effect<{ flags: string; address: string; link: string } | undefined> =>
  Effect.map(server.ask("cluster", "nodes"), (text) => {
    const line = text.split("\n").find((line) => line.startsWith(id))
    const [, address = "", flags = "", , , , , link = ""] = line?.split(" ") ?? []
    return line === undefined ? undefined : { flags, address, link }
  })
