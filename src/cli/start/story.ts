/** Runs the two processes of the story, and what happens to them. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import * as net from "node:net"
import { networkInterfaces, tmpdir } from "node:os"
import { join } from "node:path"
import * as Endpoint from "../../actors/endpoint/Endpoint.ts"
import type { FromPart, Part, ToPart } from "./messages.ts"
import { PIECE } from "./messages.ts"
import { Relay } from "./relay.ts"
import * as Verdict from "./verdict.ts"

/** What is shown while it lasts. */
export interface Scene {
  readonly millis: number
  readonly pieces: number
  readonly seconds: number
}

/** What happens to them: one is killed and comes back, or the network is cut. */
export interface Trouble {
  /** Milliseconds after the beginning. */
  readonly at: number
  readonly what: "ann" | "ben" | "cut"
  /** How long it lasts. */
  readonly millis: number
}

export interface Options {
  readonly gate: "on" | "off"
  readonly seconds: number
  /** In the order of their times. */
  readonly troubles: ReadonlyArray<Trouble>
  /** What each of them has to have moved before the end. Default: anything. */
  readonly bytes?: number
  readonly seed: number
  readonly show: {
    readonly line: (text: string) => void
    readonly progress: (scene: Scene) => void
  }
}

/** How it ended. */
export interface Told {
  readonly accepted: number
  readonly ended: number
  readonly failed: number
  readonly twice: number
  readonly wrong: number
  readonly early: number
  readonly generations: number
  readonly staleDropped: number
  readonly megabytes: number
  /** From the end of each trouble to the next piece that moved. */
  readonly recoveryMillis: ReadonlyArray<number>
}

const host = "127.0.0.1"
/** Milliseconds after a trouble in which both must have moved something, on a slow machine. */
const RECOVERY = 30_000

/** The device that this machine talks to itself by. */
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

/** One of the two, over all of its lives. */
class Player {
  readonly part: Part
  readonly #story: Story
  #child: ChildProcess | undefined
  meetingPort = 0
  /** Pieces of earlier lives, and of this one. */
  before = 0
  pieces = 0
  wrong = 0
  staleDropped = 0

  constructor(part: Part, story: Story) {
    this.part = part
    this.#story = story
  }

  /** Begins a life; returns when it runs. */
  async begin(): Promise<void> {
    this.before += this.pieces
    this.pieces = 0
    const child = fork(process.argv[1]!, ["part", JSON.stringify(this.part)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      child.once("exit", () => reject(new Error(`${this.part.name} could not begin`)))
      child.on("message", (message: FromPart) => {
        if (message._tag === "Up") {
          this.meetingPort = message.meetingPort
          resolve()
        } else this.#hear(message)
      })
    })
  }

  tell(message: ToPart): void {
    if (this.#child?.connected === true) this.#child.send(message)
  }

  async kill(): Promise<void> {
    const child = this.#child!
    child.kill("SIGKILL")
    await once(child, "exit")
  }

  async stop(): Promise<void> {
    this.checkAlive()
    this.tell({ _tag: "Stop" })
    await once(this.#child!, "exit")
  }

  /** Throws if the process is not there any more; nobody has told it to end. */
  checkAlive(): void {
    const { exitCode, signalCode } = this.#child!
    if (exitCode === null && signalCode === null) return
    throw new Error(`${this.part.name} has ended by itself`)
  }

  end(): void {
    this.#child?.kill("SIGKILL")
  }

  #hear(message: Exclude<FromPart, { _tag: "Up" }>): void {
    if (message._tag === "Moved") {
      if (message.pieces > this.pieces) this.#story.moved(this)
      this.pieces = message.pieces
    } else if (message._tag === "Wrong") this.wrong += 1
    else this.staleDropped += message.staleDropped
  }
}

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export class Story {
  readonly #options: Options
  readonly #relay = new Relay()
  readonly #directory = mkdtempSync(join(tmpdir(), "handfast-"))
  #players: ReadonlyArray<Player> = []
  readonly #recoveryMillis: Array<number> = []
  /** Since when each of the two waits to move something again. */
  readonly #troubled = new Map<Player, number>()

  private constructor(options: Options) {
    this.#options = options
  }

  static readonly begin = (options: Options): Effect.Effect<Story, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.sync(() => new Story(options)),
      (story) => Effect.sync(() => story.#close())
    )

  get tell(): Effect.Effect<Told, unknown> {
    return Effect.andThen(
      Effect.tryPromise(() => this.#play()),
      Effect.suspend(() => this.#judge())
    )
  }

  /** One of the two has moved something. */
  moved(player: Player): void {
    const since = this.#troubled.get(player)
    if (since === undefined) return
    this.#troubled.delete(player)
    this.#recoveryMillis.push(performance.now() - since)
  }

  async #play(): Promise<void> {
    const { seconds, show } = this.#options
    await this.#cast()
    for (const player of this.#players) await this.#raise(player)
    const began = performance.now()
    const millis = () => performance.now() - began
    const progress = setInterval(
      () => show.progress({ millis: millis(), pieces: this.#pieces, seconds }),
      100
    )
    try {
      await this.#act(millis)
    } finally {
      clearInterval(progress)
    }
  }

  async #act(millis: () => number): Promise<void> {
    const { bytes = 0, seconds, show, troubles } = this.#options
    const until = (time: number) => pause(Math.max(0, time - millis()))
    const say = (text: string) => {
      show.line(`  ${(millis() / 1000).toFixed(1).padStart(5)} s  ${text}`)
    }
    say("both are up")
    for (const trouble of troubles) {
      await until(trouble.at)
      await this.#strike(trouble, say)
    }
    await until(1000 * seconds)
    while (this.#players.some(({ before, pieces }) => (before + pieces) * PIECE < bytes)) {
      for (const player of this.#players) player.checkAlive()
      await pause(50)
    }
    say("that is enough")
    await Promise.all(this.#players.map((player) => player.stop()))
  }

  /** Lets something happen, and returns when it is over. */
  async #strike(trouble: Trouble, say: (text: string) => void): Promise<void> {
    const { millis } = trouble
    if (trouble.what === "cut") {
      this.#relay.cut(millis)
      say(`the network is cut for ${(millis / 1000).toFixed(1)} s`)
      await pause(millis)
      say("the network is whole")
    } else {
      const player = this.#players.find(({ part }) => part.name === trouble.what)!
      await player.kill()
      say(`${trouble.what} is killed`)
      await pause(millis)
      await this.#raise(player)
      say(`${trouble.what} is back`)
    }
    for (const player of this.#players) this.#troubled.set(player, performance.now())
    const end = performance.now() + RECOVERY
    while (this.#troubled.size > 0) {
      if (performance.now() > end) throw new Error(`nothing moves ${RECOVERY} ms after that`)
      await pause(10)
    }
    say("both move memory again")
  }

  get #pieces(): number {
    return this.#players.reduce((sum, { before, pieces }) => sum + before + pieces, 0)
  }

  /** Who they are, and where they find each other. */
  async #cast(): Promise<void> {
    const ports = [await freePort(), await freePort()]
    const relayed = await Promise.all(ports.map((port) => this.#relay.open(() => port)))
    const { gate, seed } = this.#options
    const nic = loopback()
    this.#players = ["ann", "ben"].map((name, index) => {
      const peer = 1 - index
      const part: Part = {
        name,
        nic,
        port: ports[index]!,
        peer: `${host}:${ports[peer]}`,
        peerAt: { host, port: relayed[peer]! },
        directory: this.#directory,
        gate,
        slow: index === 0 ? 0 : 40,
        seed
      }
      return new Player(part, this)
    })
  }

  /** Begins a life of one of them, and tells the other where its queue pairs are met. */
  async #raise(player: Player): Promise<void> {
    const other = this.#players.find((one) => one !== player)!
    await player.begin()
    const at = await this.#relay.open(() => player.meetingPort)
    other.tell({ _tag: "Meet", port: player.meetingPort, at })
    if (other.meetingPort > 0) {
      const back = await this.#relay.open(() => other.meetingPort)
      player.tell({ _tag: "Meet", port: other.meetingPort, at: back })
    }
    player.tell({ _tag: "Go" })
  }

  #judge(): Effect.Effect<Told, unknown> {
    return Effect.gen({ self: this }, function* () {
      const ann = yield* this.#read(this.#players[0]!.part)
      const ben = yield* this.#read(this.#players[1]!.part)
      const sum = (pick: (one: Verdict.Found) => number) => pick(ann) + pick(ben)
      const early =
        Verdict.earlyOf(ann.generations, ben.generations) +
        Verdict.earlyOf(ben.generations, ann.generations)
      return {
        accepted: sum(({ accepted }) => accepted),
        ended: sum(({ ended }) => ended),
        failed: sum(({ failed }) => failed),
        twice: sum(({ twice }) => twice),
        wrong: this.#players.reduce((count, { wrong }) => count + wrong, 0),
        early,
        generations: sum(({ generations }) => generations.length),
        staleDropped: this.#players.reduce((count, { staleDropped }) => count + staleDropped, 0),
        megabytes: Math.round((this.#pieces * PIECE) / 1e6),
        recoveryMillis: this.#recoveryMillis
      }
    })
  }

  #read({ name, nic, peer, port }: Part): Effect.Effect<Verdict.Found, unknown> {
    const id = Endpoint.idOf(`${host}:${port}@${nic}`, `${peer}@${nic}`)
    return Verdict.read(join(this.#directory, `${name}.journal`), id)
  }

  #close(): void {
    for (const player of this.#players) player.end()
    this.#relay.close()
    rmSync(this.#directory, { recursive: true })
  }
}
