/** Runs the two processes of the demo, and injects its faults. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import * as net from "node:net"
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import * as Endpoint from "../../actors/endpoint/Endpoint.ts"
import { makeDirectory, removeDirectory } from "./leftovers.ts"
import { type ProcessOptions, PIECE, SLOW_MILLIS } from "./messages.ts"
import { DemoProcess } from "./demoProcess.ts"
import { Relay } from "./relay.ts"
import type { Screen } from "./screen.ts"
import { recovered } from "./telling.ts"
import type { Recovery, DemoResult } from "./result.ts"
import * as Verdict from "./verdict.ts"

/** A fault of the demo: a process is killed and restarted, or the network is cut. */
export interface ScheduledFault {
  /** Milliseconds after both have begun to copy. */
  readonly at: number
  readonly what: "ann" | "ben" | "cut"
  /** How long it lasts, in milliseconds. */
  readonly millis: number
}

export interface Options {
  readonly gate: "on" | "off"
  readonly seconds: number
  /** In the order of their times. */
  readonly faults: ReadonlyArray<ScheduledFault>
  /** Bytes that each of them has to move before the end. Default: any number. */
  readonly bytes?: number
  readonly seed: number
  readonly show: Screen
}

const host = "127.0.0.1"
/** Milliseconds after a fault within which both must have moved a piece, on a slow machine. */
const RECOVERY = 30_000

/** The device by which this machine connects to itself. */
const loopback = (): string => {
  const all = Object.entries(networkInterfaces())
  const found = all.find(([, addresses]) => addresses?.some(({ internal }) => internal))
  return found?.[0] ?? "lo"
}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, host)
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export class Demo {
  readonly #options: Options
  readonly #relay = new Relay()
  readonly #directory = makeDirectory()
  #processes: ReadonlyArray<DemoProcess> = []
  readonly #recoveries: Array<Recovery> = []
  #startMillis = 0
  /** For each process that waits to copy a piece: since when, and after which event. */
  readonly #waiting = new Map<DemoProcess, Omit<Recovery, "millis"> & { readonly since: number }>()

  private constructor(options: Options) {
    this.#options = options
  }

  static readonly begin = (options: Options): Effect.Effect<Demo, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => new Demo(options)),
      (demo) => Effect.sync(() => demo.#close())
    )

  get run(): Effect.Effect<DemoResult, unknown> {
    return Effect.andThen(
      Effect.tryPromise(() => this.#perform()),
      Effect.suspend(() => this.#evaluate())
    )
  }

  /** Records that a process has copied a piece. */
  #moved(child: DemoProcess): void {
    const waiting = this.#waiting.get(child)
    if (waiting === undefined) return
    this.#waiting.delete(child)
    const { since, ...what } = waiting
    this.#recoveries.push({ ...what, millis: performance.now() - since })
  }

  async #perform(): Promise<void> {
    await this.#createProcesses()
    await Promise.all(this.#processes.map((child) => child.begin()))
    await this.#introduce()
    this.#startMillis = await this.#bothCopy("at the start")
    this.#recoveries.length = 0
    const { seconds, show } = this.#options
    const began = performance.now()
    const millis = () => performance.now() - began
    const megabytes = () => Math.round((this.#pieces * PIECE) / 1e6)
    const draw = () => show.progress(millis() / (1000 * seconds), `${megabytes()} MB copied`)
    const progress = setInterval(draw, 100)
    try {
      await this.#run(millis)
    } finally {
      clearInterval(progress)
    }
  }

  async #run(millis: () => number): Promise<void> {
    const { bytes = 0, seconds, show, faults } = this.#options
    const until = (time: number) => pause(Math.max(0, time - millis()))
    const say = (text: string) => {
      show.line(`  ${(millis() / 1000).toFixed(1).padStart(5)} s  ${text}`)
    }
    say("both copy")
    for (const fault of faults) {
      await until(fault.at)
      await this.#inject(fault, say)
    }
    await until(1000 * seconds)
    while (this.#processes.some(({ before, pieces }) => (before + pieces) * PIECE < bytes)) {
      for (const child of this.#processes) child.checkAlive()
      await pause(50)
    }
    say("that is enough: both finish what they have begun")
    await Promise.all(this.#processes.map((child) => child.stop()))
  }

  /** Injects a fault, and returns when both copy again. */
  async #inject(fault: ScheduledFault, say: (text: string) => void): Promise<void> {
    const { millis, what } = fault
    const seconds = `${(millis / 1000).toFixed(1)} s`
    if (what === "cut") {
      this.#relay.cut(millis)
      say(`the network is cut, for ${seconds}`)
      await pause(millis)
      say("the network is whole again")
    } else {
      const child = this.#processes.find(({ part }) => part.name === what)!
      await child.kill()
      say(`${what} is killed`)
      await pause(millis)
      await child.begin()
      await this.#introduce()
      say(`${what} is back`)
    }
    const name = what === "cut" ? "the cut" : `${what} was killed`
    say(recovered(await this.#bothCopy(`after ${name}`)))
  }

  /** Waits until each of the two has copied a piece, and returns the milliseconds. */
  async #bothCopy(after: string): Promise<number> {
    const since = performance.now()
    for (const child of this.#processes) {
      this.#waiting.set(child, { who: child.part.name, after, since })
    }
    while (this.#waiting.size > 0) {
      for (const child of this.#processes) child.checkAlive()
      const isLate = performance.now() - since > RECOVERY
      if (isLate) throw new Error(`nothing was copied for ${RECOVERY / 1000} s ${after}`)
      await pause(10)
    }
    return performance.now() - since
  }

  get #pieces(): number {
    return this.#processes.reduce((sum, { before, pieces }) => sum + before + pieces, 0)
  }

  /** Creates the handles of both processes, each with the address of the other. */
  async #createProcesses(): Promise<void> {
    const ports = [await freePort(), await freePort()]
    const relayed = await Promise.all(ports.map((port) => this.#relay.open(() => port)))
    const { gate, seed } = this.#options
    const nic = loopback()
    this.#processes = ["ann", "ben"].map((name, index) => {
      const peer = 1 - index
      const part: ProcessOptions = {
        name,
        nic,
        port: ports[index]!,
        peer: `${host}:${ports[peer]}`,
        peerAt: { host, port: relayed[peer]! },
        directory: this.#directory,
        gate,
        slow: index === 0 ? 0 : SLOW_MILLIS,
        seed
      }
      return new DemoProcess(part, (copied) => this.#moved(copied))
    })
  }

  /** Sends each the port of the other's queue pairs, and lets waiting ones begin. */
  async #introduce(): Promise<void> {
    const [ann, ben] = this.#processes
    for (const [child, other] of [
      [ann!, ben!],
      [ben!, ann!]
    ] as const) {
      const { meetingPort } = other
      const at = await this.#relay.open(() => meetingPort)
      child.tell({ _tag: "Meet", port: meetingPort, at })
    }
    for (const child of this.#processes) child.tell({ _tag: "Go" })
  }

  #evaluate(): Effect.Effect<DemoResult, unknown> {
    return Effect.gen({ self: this }, function* () {
      const ann = yield* this.#read(this.#processes[0]!.part)
      const ben = yield* this.#read(this.#processes[1]!.part)
      const sum = (pick: (one: Verdict.Found) => number) => pick(ann) + pick(ben)
      const early = [
        ...Verdict.earlyOf(ann.generations, ben.generations),
        ...Verdict.earlyOf(ben.generations, ann.generations)
      ]
      return {
        accepted: sum(({ accepted }) => accepted),
        ended: sum(({ ended }) => ended),
        failed: sum(({ failed }) => failed),
        twice: sum(({ twice }) => twice),
        wrong: this.#processes.reduce((count, { wrong }) => count + wrong, 0),
        unseen: sum(({ unseen }) => unseen),
        early: early.length,
        lost: early.filter(({ isLost }) => isLost).length,
        resent: this.#processes.reduce((count, { resent }) => count + resent, 0),
        generations: sum(({ generations }) => generations.length),
        staleDropped: this.#processes.reduce((count, { staleDropped }) => count + staleDropped, 0),
        megabytes: Math.round((sum(({ ended }) => ended) * PIECE) / 1e6),
        pieces: this.#pieces,
        startMillis: this.#startMillis,
        recoveries: this.#recoveries
      }
    })
  }

  #read({ name, nic, peer, port }: ProcessOptions): Effect.Effect<Verdict.Found, unknown> {
    const id = Endpoint.idOf(`${host}:${port}@${nic}`, `${peer}@${nic}`)
    return Verdict.read(join(this.#directory, `${name}.journal`), id)
  }

  #close(): void {
    for (const child of this.#processes) child.end()
    this.#relay.close()
    removeDirectory(this.#directory)
  }
}
