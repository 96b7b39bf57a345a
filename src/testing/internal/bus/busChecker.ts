/** Watches the members of two clusters from outside of their processes. */
import type { MembersView } from "../../../actors/bus/BusNode.ts"

/** The promises, by name. */
export const promises = {
  converges: "membership converges after the faults",
  awake: "no live node is called failed by one that was itself asleep",
  ordered: "no frame is applied twice or out of order",
  apart: "two clusters never merge",
  released: "teardown at any point leaks nothing"
} as const

export type Promised = keyof typeof promises

/** Milliseconds of the nodes' timeout. */
export const nodeTimeoutMs = 1_000

/** A pause of a process, in milliseconds, that its member must not hold against others. */
const asleepMs = 300
/** The longest times between a suspicion and its view, and between two beats. */
const toleranceMs = 150

/** A member of a cluster and its host. Its id outlives its processes. */
export interface Identity {
  readonly name: string
  readonly cluster: string
}

/** One life of a member. */
export class Life {
  readonly identity: Identity
  readonly id: string
  view: MembersView = { version: 0, members: [] }
  /** Since when it has run without a pause, and when it was seen to run last. */
  #awakeSince: number
  #beatAt: number
  readonly #suspected = new Set<string>()
  readonly #lastNumbers = new Map<string, number>()
  readonly #checker: BusChecker

  constructor(checker: BusChecker, identity: Identity, id: string, now: number) {
    this.#checker = checker
    this.identity = identity
    this.id = id
    this.#awakeSince = this.#beatAt = now
  }

  /** Called often while the process runs. */
  beat(now: number): void {
    if (now - this.#beatAt > asleepMs) this.#awakeSince = now
    this.#beatAt = now
  }

  saw(view: MembersView, now: number): void {
    this.view = view
    for (const { id, state } of view.members) {
      const other = this.#checker.identities.get(id)
      if (other !== undefined && other.cluster !== this.identity.cluster) {
        this.#violate("apart", `${this.identity.name} has taken in ${other.name}`)
      }
      if (state === "failed") this.#violate("awake", `${this.#nameOf(id)} is called failed`)
      if (state !== "suspected") this.#suspected.delete(id)
      else if (!this.#suspected.has(id)) this.#suspect(id, now)
    }
  }

  #suspect(id: string, now: number): void {
    this.#suspected.add(id)
    const isAsleep = now - this.#beatAt > asleepMs
    const awakeMs = isAsleep ? 0 : now - this.#awakeSince
    if (awakeMs >= nodeTimeoutMs - toleranceMs) return
    const what = `suspects ${this.#nameOf(id)} after ${Math.round(awakeMs)} ms awake`
    this.#violate("awake", `${this.identity.name} ${what}`)
  }

  /** A publication came with the number that its publisher has given it. */
  received(from: string, number: number): void {
    const last = this.#lastNumbers.get(from) ?? -1
    this.#lastNumbers.set(from, Math.max(last, number))
    this.#checker.received++
    if (number > last) return
    const what = `${this.#nameOf(from)} ${number} after ${last}`
    this.#violate("ordered", `${this.identity.name} got publication ${what}`)
  }

  /** Whether it is connected to all others of its cluster, and knows no more. */
  get isSettled(): boolean {
    const others = this.#checker.membersOf(this.identity.cluster) - 1
    const { members } = this.view
    return members.length === others && members.every(({ state }) => state === "connected")
  }

  get shown(): string {
    const members = this.view.members.map(({ id, state }) => `${this.#nameOf(id)} ${state}`)
    return `${this.identity.name}: ${members.join(", ")}`
  }

  #nameOf(id: string): string {
    return this.#checker.identities.get(id)?.name ?? id
  }

  #violate(promise: Promised, what: string): void {
    this.#checker.violate(promise, what)
  }
}

export class BusChecker {
  readonly identities = new Map<string, Identity>()
  /** The running life at each host. */
  readonly lives = new Map<string, Life>()
  violation: { readonly promise: Promised; readonly what: string } | undefined
  /** Publications that were received. */
  received = 0
  /** Clusters are complete: they take in no more, and faults may strike. */
  isFormed = false
  isHealed = false
  isOver = false
  readonly #all: ReadonlyArray<Identity>
  #number = 0

  constructor(all: ReadonlyArray<Identity>) {
    this.#all = all
  }

  membersOf(cluster: string): number {
    return this.#all.filter((identity) => identity.cluster === cluster).length
  }

  /** A number that is higher than all before it. */
  nextNumber(): number {
    return this.#number++
  }

  begin(host: string, identity: Identity, id: string, now: number): Life {
    const known = [...this.identities].find(([, { name }]) => name === identity.name)
    if (known !== undefined && known[0] !== id) {
      this.violate("converges", `${identity.name} has lost its id`)
    }
    this.identities.set(id, identity)
    const life = new Life(this, identity, id, now)
    this.lives.set(host, life)
    return life
  }

  get isSettled(): boolean {
    const lives = [...this.lives.values()]
    return lives.length === this.#all.length && lives.every(({ isSettled }) => isSettled)
  }

  violate(promise: Promised, what: string): void {
    this.violation ??= { promise, what }
  }
}
