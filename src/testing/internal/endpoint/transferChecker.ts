/**
 * Checks the promises of transfers, from outside of all hosts: it outlives their crashes, as a user
 * of theirs does. The first broken promise ends the run.
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Description } from "../../../actors/rdma/Directory.ts"
import type { TransferError } from "../../../actors/transfer/TransferError.ts"

/** The promises, by the names that a failing run shows. */
export const promises = {
  gate: "no host sends too soon",
  there: "bytes reported as moved are there",
  once: "a transfer ends once",
  ends: "every transfer ends",
  succeeds: "no transfer fails that could not",
  quiet: "a read that has ended touches no memory",
  sound: "no transfer breaks",
  released: "nothing is left at the end"
} as const

export type PromiseName = keyof typeof promises

/** A broken promise, how it was broken, and the events that matter, the last one last. */
export interface Violation {
  readonly promise: PromiseName
  readonly detail: string
  readonly events: ReadonlyArray<string>
}

/** Memory that a host has registered for others, and when. */
interface Inbox {
  readonly bytes: Uint8Array
  readonly at: number
}

/** One life of a host. */
export interface Life {
  /** The present description: a NIC that was removed has other keys after its return. */
  readonly description: Effect.Effect<Description>
}

/** A transfer that a caller wants. */
export interface Wanted {
  readonly by: string
  readonly peer: string
  readonly isWrite: boolean
  /** The caller's memory. */
  readonly local: Uint8Array
  /** Offset in the peer's inbox. */
  readonly at: number
  /** Milliseconds; none if it has no deadline. */
  readonly within?: number | undefined
  readonly onReplaced?: "begin-anew" | "fail" | undefined
}

/** A transfer that was accepted. */
export interface Ticket extends Wanted {
  /** In milliseconds of the run. */
  readonly acceptedAt: number
  /** The number of the peer's newest inbox at that time; -1 if there was none. */
  readonly firstInbox: number
}

/** A durable transfer, over all lives of its host. */
export interface Order extends Ticket {
  readonly id: string
  /** The end of the transfer as its host got it. */
  end: string | undefined
}

/** Reasons for which a plain transfer may fail under faults, with all options. */
const troubles = new Set([
  "peer-unreachable",
  "attempts-exhausted",
  "no-such-memory",
  "unknown",
  "unanswered"
])

export class TransferChecker {
  /** The first promise that was broken. */
  violation: Violation | undefined = undefined
  readonly #now: () => number
  readonly #lives = new Map<string, Life>()
  /** The memory of each registration that a host has made for others, over all of its lives. */
  readonly #inboxes = new Map<string, Array<Inbox>>()
  readonly #underWay = new Map<Ticket, Life>()
  readonly #orders = new Map<string, Array<Order>>()
  /** Pairs of hosts between which everything moved after the faults. */
  readonly #reached = new Set<string>()
  /** The time from which nothing prevents a transfer. */
  settledAt = Infinity
  /** True once the faults have stopped. */
  isHealed = false
  /** True once all hosts may end. */
  isOver = false

  constructor(now: () => number) {
    this.#now = now
  }

  violate(promise: PromiseName, detail: string, events: ReadonlyArray<string> = []): void {
    this.violation ??= { promise, detail, events }
  }

  /** Begins a life of a host; transfers of its last one ended with it. */
  begin(name: string, life: Life): void {
    const before = this.#lives.get(name)
    for (const [ticket, owner] of this.#underWay) {
      if (owner === before) this.#underWay.delete(ticket)
    }
    this.#lives.set(name, life)
  }

  lifeOf(name: string): Life | undefined {
    return this.#lives.get(name)
  }

  /** Records memory that a host has registered for others. */
  registered(name: string, inbox: Uint8Array): void {
    this.#inboxesOf(name).push({ bytes: inbox, at: this.#now() })
  }

  accept(wanted: Wanted): Ticket {
    const ticket = this.#ticketOf(wanted)
    this.#underWay.set(ticket, this.#lives.get(wanted.by)!)
    return ticket
  }

  /** Checks the end of a transfer, unless its life is over. */
  end(ticket: Ticket, exit: Exit.Exit<unknown, TransferError>): void {
    if (!this.#underWay.delete(ticket)) this.#violated("once", ticket, "it ends once more")
    if (Exit.isSuccess(exit)) return this.#moved(ticket)
    const failure = exit.cause.reasons.find(({ _tag }) => _tag === "Fail")
    // It was cancelled, or its process ends.
    if (failure === undefined && Cause.hasInterruptsOnly(exit.cause)) return
    if (failure?._tag !== "Fail") {
      return this.#violated("sound", ticket, Cause.pretty(exit.cause))
    }
    const { acceptedAt } = ticket
    const isEarly = this.#now() < acceptedAt + (ticket.within ?? 0) - 1
    if (acceptedAt >= this.settledAt || !mayFail(ticket, failure.error, isEarly)) {
      this.#violated("succeeds", ticket, failure.error.message)
    }
  }

  /** Records that a transfer has moved after the faults. */
  reached(by: string, peer: string, isWrite: boolean): void {
    this.#reached.add(`${by} ${peer} ${isWrite}`)
  }

  /** Whether nothing is under way, and every host has written to every other, and read. */
  isDone(names: ReadonlyArray<string>): boolean {
    const isReached = this.#reached.size === 2 * names.length * (names.length - 1)
    return isReached && this.underWay.length === 0
  }

  /** Plain transfers of living hosts, and durable ones whose end no host has got. */
  get underWay(): ReadonlyArray<string> {
    const orders = [...this.#orders.values()].flat()
    const open = orders.filter(({ end }) => end === undefined)
    return [...this.#underWay.keys(), ...open].map(nameOf)
  }

  /** A host's durable transfers, which it submits again in each life. */
  ordersOf(name: string): ReadonlyArray<Order> {
    return this.#orders.get(name) ?? []
  }

  order(wanted: Wanted): Order {
    const orders = this.#orders.get(wanted.by) ?? []
    const id = `${wanted.by}-${orders.length + 1}`
    const order = { ...this.#ticketOf(wanted), id, end: undefined }
    this.#orders.set(wanted.by, [...orders, order])
    return order
  }

  /**
   * Checks the end of a durable transfer. It may not fail before its deadline, which no run
   * reaches.
   */
  endOrder(order: Order, exit: Exit.Exit<unknown, { readonly message: string }>): void {
    const end = Exit.isSuccess(exit) ? "moved" : Cause.pretty(exit.cause)
    if (order.end !== undefined && order.end !== end) {
      this.#violated("once", order, `it ends as ${order.end}, and then as ${end}`)
    }
    if (Exit.isFailure(exit)) this.#violated("succeeds", order, end)
    else if (order.end === undefined) this.#moved(order)
    order.end = end
  }

  /** Compares a host's journal with its durable transfers, at the end. */
  audit(name: string, events: ReadonlyArray<{ readonly type: string; readonly id: string }>): void {
    const count = (wanted: string, id: string) =>
      events.filter((event) => event.type === wanted && event.id === id).length
    for (const { id } of events) {
      const [accepted, ended] = [count("Accepted", id), count("Ended", id)]
      if (accepted === 1 && ended === 1) continue
      const promise = ended === 0 ? "ends" : "once"
      this.violate(promise, `${id} of ${name} was accepted ${accepted} times, and ended ${ended}`)
    }
    for (const { end, id } of this.ordersOf(name)) {
      if (end === undefined) this.violate("ends", `${id} of ${name} has not ended`)
      else if (count("Ended", id) === 0) this.violate("once", `the end of ${id} is not stored`)
    }
  }

  /** Checks that all bytes are in one registration: that of the beginning, or a later one. */
  #moved(ticket: Ticket): void {
    const { at, local } = ticket
    const { length } = local
    const pieces = this.#inboxesSince(ticket).map(({ bytes }) => bytes.subarray(at, at + length))
    if (pieces.some((piece) => Buffer.compare(local, piece) === 0)) return
    const equal = pieces.map((piece) => local.filter((byte, index) => byte === piece[index]).length)
    this.#violated(
      "there",
      ticket,
      `it ends as moved, with ${equal.join(" or ")} of ${length} bytes`
    )
  }

  #ticketOf(wanted: Wanted): Ticket {
    const firstInbox = this.#inboxesOf(wanted.peer).length - 1
    return { ...wanted, acceptedAt: this.#now(), firstInbox }
  }

  #inboxesSince({ firstInbox, peer }: Ticket): ReadonlyArray<Inbox> {
    return this.#inboxesOf(peer).slice(Math.max(0, firstInbox))
  }

  /** Whether the peer has registered its memory again since a transfer began. */
  isReplaced(ticket: Ticket): boolean {
    return this.#inboxesSince(ticket).length > 1
  }

  /** Reports a promise that a transfer's end breaks. */
  #violated(promise: PromiseName, ticket: Ticket, end: string): void {
    const { acceptedAt, peer } = ticket
    const replaced = this.#inboxesSince(ticket).at(-1)
    const isReplaced = replaced !== undefined && replaced.at > acceptedAt
    this.violate(promise, nameOf(ticket), [
      `${millisText(acceptedAt)} it is accepted`,
      ...(isReplaced ? [`${millisText(replaced.at)} ${peer} registers its inbox anew`] : []),
      `${millisText(this.#now())} ${end}`
    ])
  }

  #inboxesOf(name: string): Array<Inbox> {
    const inboxes = this.#inboxes.get(name) ?? []
    this.#inboxes.set(name, inboxes)
    return inboxes
  }
}

const millisText = (millis: number): string => `${millis.toFixed(3)} ms:`

const nameOf = ({ at, by, isWrite, peer }: Wanted): string =>
  `a ${isWrite ? "write" : "read"} of ${by} ${isWrite ? "to" : "from"} ${peer} at ${at}`

/** Whether a plain transfer could end like this. */
const mayFail = (
  { onReplaced, within }: Ticket,
  error: TransferError,
  isEarly: boolean
): boolean => {
  if (error._tag === "InvalidTransfer") return error.lacks === "peer-memory"
  if (error._tag === "TooManyTransfers") return false
  if (error.reason === "deadline") return within !== undefined && !isEarly
  if (error.reason === "peer-memory-replaced") return onReplaced === "fail"
  return troubles.has(error.reason)
}
