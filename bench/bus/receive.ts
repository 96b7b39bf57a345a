/** Members that another one floods with frames: one of this library, and real servers. */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { mkdtempSync, readFileSync } from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { BusNode } from "../../src/actors/bus/BusNode.ts"
import { IoPool } from "../../src/native/io/IoPool.ts"
import { pathOf } from "../../test/peerPaths.ts"
import type { Outcome } from "../harness.ts"

export type Kind = "full" | "light" | "ping"

/** Frames of a run, so many that each takes about a second. */
const frames = { full: 100_000, light: 500_000, ping: 25_000 } as const

/** Bytes of a frame of each kind: a publication of one byte on a channel of four. */
const frameBytes = { full: 2_269, light: 29, ping: 2_256 } as const

/** Seconds of processor time of the main thread and of all threads. */
interface Cpu {
  readonly main: number
  readonly all: number
}

const difference = (kind: Kind, before: Cpu, after: Cpu, startedAt: number, completed: number) => {
  const expected = frames[kind]
  const seconds = (performance.now() - startedAt) / 1_000
  const one = (value: number, unit: string): Outcome => ({ value, unit, completed, expected })
  const perFrame = (from: number, to: number) => (1e9 * (to - from)) / expected
  return {
    [`cpu-${kind}`]: one(perFrame(before.main, after.main), "ns of main thread per frame"),
    [`process-${kind}`]: one(perFrame(before.all, after.all), "ns of all threads per frame"),
    [`rate-${kind}`]: one((expected * frameBytes[kind]) / 1e6 / seconds, "MB/s")
  }
}

/** The member that floods; `flood` ends when it has what it waits for. */
const load = async (busPort: number, kind: Kind, clientPort?: number) => {
  const file = fileURLToPath(new URL("./load.ts", import.meta.url))
  const args = [busPort, kind, frames[kind], ...(clientPort === undefined ? [] : [clientPort])]
  const child = fork(file, args.map(String))
  process.on("exit", () => child.kill())
  const says = (word: string) =>
    new Promise<void>((resolve, reject) => {
      child.on("message", (message) => message === word && resolve())
      child.on("exit", (code) => reject(new Error(`load ended with ${code}`)))
    })
  await says("joined")
  const flood = (): Promise<void> => {
    child.send("go")
    return says("done")
  }
  return { flood }
}

const ownCpu = (): Cpu => {
  const main = process.threadCpuUsage()
  const all = process.cpuUsage()
  return { main: (main.user + main.system) / 1e6, all: (all.user + all.system) / 1e6 }
}

/** Room of the subscriber for all that comes, so that it misses nothing. */
const room = { messages: frames.light, bytes: 1e9 }

export const byNode = (kind: Kind): Promise<Record<string, Outcome>> => {
  const layer = BusNode.layerEphemeral({ nodeTimeoutMs: 60_000, admit: "anyone" })
  return Effect.gen(function* () {
    const bus = yield* BusNode
    let completed = 0
    const counting = bus.subscribe("news", room).pipe(
      Stream.takeUntil(({ _tag }) => {
        if (_tag === "Published") completed++
        return completed >= frames[kind]
      }),
      Stream.runDrain
    )
    const counted = yield* Effect.forkScoped(counting)
    const { flood } = yield* Effect.promise(() => load(Number(bus.address.split(":")[1]), kind))
    const [before, startedAt] = [ownCpu(), performance.now()]
    yield* Effect.promise(flood)
    if (kind === "ping") completed = frames.ping
    else yield* Fiber.join(counted)
    return difference(kind, before, ownCpu(), startedAt, completed)
  }).pipe(
    Effect.provide(Layer.provide(layer, IoPool.layer({ workers: 1 }))),
    Effect.scoped,
    Effect.runPromise
  )
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })

/** Linux counts processor time in hundredths of a second. */
const ticksPerSecond = 100

const ticksOf = (file: string): number => {
  // The name of the program, in brackets, may hold spaces.
  const fields = readFileSync(file, "latin1").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

const cpuOf = ({ pid }: ChildProcess): Cpu => ({
  main: ticksOf(`/proc/${pid}/task/${pid}/stat`),
  all: ticksOf(`/proc/${pid}/stat`)
})

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    for (const event of ["connect", "error"] as const) {
      socket.once(event, () => {
        socket.destroy()
        resolve(event === "connect")
      })
    }
  })

/** A server in cluster mode, alone; it ends with this process. */
const startServer = async (program: string) => {
  const [port, busPort] = [await freePort(), await freePort()]
  const directory = mkdtempSync(join(tmpdir(), "handfast-bench-"))
  const child = spawn(
    pathOf(program),
    [
      ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", directory, "--save", ""],
      ["--cluster-enabled", "yes", "--cluster-port", `${busPort}`],
      ["--cluster-node-timeout", "60000", "--client-output-buffer-limit", "pubsub 0 0 0"],
      ["--cluster-require-full-coverage", "no", "--daemonize", "no"]
    ].flat(),
    { stdio: "ignore" }
  )
  child.once("error", (error) => {
    console.error(`${program} cannot be started: scripts/peers brings it`, error)
    process.exit(1)
  })
  process.on("exit", () => child.kill("SIGKILL"))
  while (!(await accepts(busPort))) await setTimeout(20)
  return { child, port, busPort }
}

export const byServer = async (program: string, kind: Kind): Promise<Record<string, Outcome>> => {
  const { busPort, child, port } = await startServer(program)
  const { flood } = await load(busPort, kind, kind === "ping" ? undefined : port)
  const [before, startedAt] = [cpuOf(child), performance.now()]
  await flood()
  // Its own client, or the PONGs, have counted all of them.
  return difference(kind, before, cpuOf(child), startedAt, frames[kind])
}
