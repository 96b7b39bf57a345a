/**
 * Virtual machines with Linux's software RDMA devices, for tests against the real thing.
 *
 * `scripts/vm/build` makes them and `scripts/vm/boot` boots one; here it is a service that runs
 * commands and opens ways into it. The machine reaches this one, loopback included, as `host`.
 */
import { execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { layer, type Vitest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { peer, type Peer } from "../peers.ts"

/** The driver of a machine's device: iWARP, or RoCE with the files of this machine. */
export type Driver = "siw" | "rxe"

/** The address of this machine inside the virtual one. */
export const host = "10.0.2.2"
/** The address of the virtual machine inside itself. */
export const guest = "10.0.2.15"

/** What became of a command; `output` is all that it printed, errors too. */
export interface Finished {
  readonly status: number
  readonly output: string
}

interface Shape {
  /** Runs a shell command; interrupting this kills it. */
  readonly run: (command: string) => Effect.Effect<Finished>
  /** Starts one that is killed when the scope closes, unless it has ended. */
  readonly start: (command: string) => Effect.Effect<Fiber.Fiber<Finished>, never, Scope.Scope>
  /** Starts one that listens at `port`; gives the port of loopback that leads there. */
  readonly serve: (
    command: string,
    port: number
  ) => Effect.Effect<
    { readonly port: number; readonly server: Fiber.Fiber<Finished> },
    never,
    Scope.Scope
  >
  /** Gives a port of loopback that leads to `port` in the machine. */
  readonly forward: (port: number) => Effect.Effect<number>
}

const script = (name: string) => fileURLToPath(new URL(`../../scripts/vm/${name}`, import.meta.url))

/** The folder of the machine. Making it takes a minute, or several where downloads are slow. */
const build = Effect.callback<string>((resume) => {
  const command = ["600", script("build")]
  const child = execFile("timeout", command, (error, stdout, stderr) => {
    resume(error === null ? Effect.succeed(stdout.trim()) : Effect.die(new Error(stderr)))
  })
  return Effect.sync(() => child.kill())
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "handfast-vm-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

/** Boots the machine until it says on its console that it is up; gives what the console shows. */
const boot = Effect.fnUntraced(function* (folder: string, control: string, driver: Driver) {
  const machine = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(script("boot"), [folder, control, driver], { stdio: ["ignore", "pipe", "inherit"] })
    ),
    (machine) =>
      Effect.callback<void>((resume) => {
        if (machine.exitCode !== null || machine.signalCode !== null) return resume(Effect.void)
        machine.once("exit", () => resume(Effect.void))
        machine.kill("SIGKILL")
      })
  )
  let console = ""
  yield* Effect.callback<void>((resume) => {
    machine.stdout.setEncoding("utf8").on("data", (chunk) => {
      console += chunk
      if (/^ready\r?$/m.test(console)) resume(Effect.void)
    })
    machine.once("exit", () => resume(Effect.die(new Error(`no boot: ${console}`))))
  }).pipe(Effect.timeout("2 minutes"), Effect.orDie)
  return () => console
})

const dial = (path: string) =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect(path, () => resume(Effect.succeed(socket)))
      socket.once("error", (error) => resume(Effect.die(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** QEMU's control socket: it answers commands in order, and tells of events that nobody awaits. */
const monitor = Effect.fnUntraced(function* (path: string) {
  const socket = yield* dial(path)
  const waiting: Array<(answer: object) => void> = []
  createInterface({ input: socket }).on("line", (line) => {
    const answer = JSON.parse(line)
    if ("return" in answer || "error" in answer) waiting.shift()!(answer)
  })
  const execute = (command: string, options: Record<string, string> = {}) =>
    Effect.callback<string>((resume) => {
      waiting.push((answer) =>
        resume(
          "return" in answer
            ? Effect.succeed(String(answer.return))
            : Effect.die(new Error(JSON.stringify(answer)))
        )
      )
      socket.write(JSON.stringify({ execute: command, arguments: options }))
    })
  yield* execute("qmp_capabilities")
  return (line: string) => execute("human-monitor-command", { "command-line": line })
})

/** Speaks with `scripts/vm/agent`. */
const runAt = (agent: number, console: () => string) => (command: string) =>
  Effect.callback<Finished>((resume) => {
    let answer = ""
    const socket = connect(agent, "127.0.0.1", () => socket.write(`${command}\n`))
    socket.setEncoding("utf8").on("data", (chunk) => (answer += chunk))
    socket.once("error", (error) => (answer += error.message))
    socket.once("close", () => {
      const [, output, status] = /^(.*)\nexit (\d+)\n$/s.exec(answer) ?? []
      const cut = `${command} was cut off: ${answer}\n${console()}`
      if (output === undefined) resume(Effect.die(new Error(cut)))
      else resume(Effect.succeed({ status: Number(status), output }))
    })
    return Effect.sync(() => socket.destroy())
  })

export class Machine extends Context.Service<Machine, Shape>()("handfast/test/Machine") {
  static readonly layer = (driver: Driver) =>
    Layer.effect(
      Machine,
      Effect.gen(function* () {
        const control = join(yield* temporaryFolder, "control")
        const console = yield* boot(yield* build, control, driver)
        const order = yield* monitor(control)
        const forward = Effect.fnUntraced(function* (port: number) {
          yield* order(`hostfwd_add tcp:127.0.0.1:0-:${port}`)
          const table = yield* order("info usernet")
          const ways = new RegExp(`HOST_FORWARD.*127\\.0\\.0\\.1 +(\\d+) +\\S+ +${port} `)
          const [, free] = ways.exec(table) ?? []
          return free === undefined ? yield* Effect.die(new Error(table)) : Number(free)
        })
        const run = runAt(yield* forward(7), console)
        const start = (command: string) => Effect.forkScoped(run(command))
        const serve = Effect.fnUntraced(function* (command: string, port: number) {
          const server = yield* start(command)
          const listens = run(`until netstat -ltn | grep -q ":${port} "; do usleep 50000; done`)
          yield* Effect.raceFirst(
            listens,
            Effect.flatMap(Fiber.join(server), ({ output }) => Effect.die(new Error(output)))
          )
          return { server, port: yield* forward(port) }
        })
        return { run, start, serve, forward }
      })
    )
}

/** What declares tests that have a machine. */
export type Methods = Vitest.MethodsNonLive<Machine>

/** What makes and runs a machine, and what the machine with RoCE finds in this one's files. */
const builders: ReadonlyArray<Peer> = ["apt-get", "gcc", "make", "qemu-system-x86_64", "xz"]
const inside: ReadonlyArray<Peer> = [
  "/etc/libibverbs.d/rxe.driver",
  "ib_write_bw",
  "ibv_rc_pingpong",
  "ip"
]

/**
 * A suite with a machine of its own, if what it takes to make and run one is installed. It has a
 * name for the layer, since without one the first test's timeout ends the building of the machine.
 */
export const onMachine = (
  name: string,
  suite: (it: Methods) => void,
  driver: Driver = "siw"
): void =>
  peer([...builders, ...(driver === "rxe" ? inside : [])], name, () =>
    layer(Machine.layer(driver), { timeout: "15 minutes", excludeTestServices: true })(
      "once booted",
      suite
    )
  )
