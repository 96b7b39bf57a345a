/** Runs the two processes of the story, and what happens to them. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import * as net from "node:net"
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import * as Endpoint from "../../actors/endpoint/Endpoint.ts"
import { makeDirectory, removeDirectory } from "./leftovers.ts"
import { type Part, PIECE, SLOW_MILLIS } from "./messages.ts"
import { Player } from "./player.ts"
import { Relay } from "./relay.ts"
import type { Screen } from "./screen.ts"
import { recovered } from "./telling.ts"
import type { Recovery, Told } from "./told.ts"
import * as Verdict from "./verdict.ts"

/** What happens to them: one is killed and comes back, or the network is cut. */
export interface Trouble {
  /** Milliseconds after both have begun to copy. */
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
  readonly show: Screen
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

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export class Story {
  readonly #options: Options
  readonly #relay = new Relay()
  readonly #directory = makeDirectory()
  #players: ReadonlyArray<Player> = []
  readonly #recoveries: Array<Recovery> = []
  #startMillis = 0
  /** Since when each of the two waits to copy something, and after what. */
  readonly #waiting = new Map<Player, Omit<Recovery, "millis"> & { readonly since: number }>()

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
  #moved(player: Player): void {
    const waiting = this.#waiting.get(player)
    if (waiting === undefined) return
    this.#waiting.delete(player)
    const { since, ...what } = waiting
    this.#recoveries.push({ ...what, millis: performance.now() - since })
  }

  async #play(): Promise<void> {
    await this.#cast()
    await Promise.all(this.#players.map((player) => player.begin()))
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
    say("both copy")
    for (const trouble of troubles) {
      await until(trouble.at)
      await this.#strike(trouble, say)
    }
    await until(1000 * seconds)
    while (this.#players.some(({ before, pieces }) => (before + pieces) * PIECE < bytes)) {
      for (const player of this.#players) player.checkAlive()
      await pause(50)
    }
    say("that is enough: both finish what they have begun")
    await Promise.all(this.#players.map((player) => player.stop()))
  }

  /** Lets something happen, and returns when it is over. */
  async #strike(trouble: Trouble, say: (text: string) => void): Promise<void> {
    const { millis, what } = trouble
    const seconds = `${(millis / 1000).toFixed(1)} s`
    if (what === "cut") {
      this.#relay.cut(millis)
      say(`the network is cut, for ${seconds}`)
      await pause(millis)
      say("the network is whole again")
    } else {
      const player = this.#players.find(({ part }) => part.name === what)!
      await player.kill()
      say(`${what} is killed`)
      await pause(millis)
      await player.begin()
      await this.#introduce()
      say(`${what} is back`)
    }
    const name = what === "cut" ? "the cut" : `${what} was killed`
    say(recovered(await this.#bothCopy(`after ${name}`)))
  }

  /** Waits until each of the two has copied something, and returns how long that took. */
  async #bothCopy(after: string): Promise<number> {
    const since = performance.now()
    for (const player of this.#players) {
      this.#waiting.set(player, { who: player.part.name, after, since })
    }
    while (this.#waiting.size > 0) {
      for (const player of this.#players) player.checkAlive()
      const isLate = performance.now() - since > RECOVERY
      if (isLate) throw new Error(`nothing was copied for ${RECOVERY / 1000} s ${after}`)
      await pause(10)
    }
    return performance.now() - since
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
        slow: index === 0 ? 0 : SLOW_MILLIS,
        seed
      }
      return new Player(part, (copied) => this.#moved(copied))
    })
  }

  /** Tells each where the queue pairs of the other are met, and lets those that wait begin. */
  async #introduce(): Promise<void> {
    const [ann, ben] = this.#players
    for (const [player, other] of [
      [ann!, ben!],
      [ben!, ann!]
    ] as const) {
      const { meetingPort } = other
      const at = await this.#relay.open(() => meetingPort)
      player.tell({ _tag: "Meet", port: meetingPort, at })
    }
    for (const player of this.#players) player.tell({ _tag: "Go" })
  }

  #judge(): Effect.Effect<Told, unknown> {
    return Effect.gen({ self: this }, function* () {
      const ann = yield* this.#read(this.#players[0]!.part)
      const ben = yield* this.#read(this.#players[1]!.part)
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
        wrong: this.#players.reduce((count, { wrong }) => count + wrong, 0),
        unseen: sum(({ unseen }) => unseen),
        early: early.length,
        lost: early.filter(({ isLost }) => isLost).length,
        resent: this.#players.reduce((count, { resent }) => count + resent, 0),
        generations: sum(({ generations }) => generations.length),
        staleDropped: this.#players.reduce((count, { staleDropped }) => count + staleDropped, 0),
        megabytes: Math.round((sum(({ ended }) => ended) * PIECE) / 1e6),
        pieces: this.#pieces,
        startMillis: this.#startMillis,
        recoveries: this.#recoveries
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
    removeDirectory(this.#directory)
  }
}
