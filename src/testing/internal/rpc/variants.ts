/**
 * Known ways to get credits and the reply cache wrong: a simulation that does not find them proves
 * nothing when it is green.
 */
import { Credits, Obligation, type Terms } from "../../../actors/link/Credits.ts"
import type { CallQueue } from "../../../actors/rpc/internal/callQueue.ts"
import { type Parts, parts } from "../../../actors/rpc/internal/parts.ts"
import type { MessagePort } from "../../../actors/rpc/internal/messagePort.ts"
import { ReplyCache } from "../../../actors/rpc/internal/replyCache.ts"
import { Requester } from "../../../actors/rpc/internal/requester.ts"
import type { Surroundings } from "../../../actors/rpc/internal/surroundings.ts"
import {
  type Incoming,
  Responder,
  type ResponderOptions
} from "../../../actors/rpc/internal/responder.ts"

/** Milliseconds by which a call is late: some connections are lost in that time. */
const LATE = 25

/** Acts a millisecond later. */
export type Later = (act: () => void) => void

/** The window does not look at the Receives. */
class Ungated extends Credits {
  override free(): number {
    return Math.max(0, Math.min(this.granted, this.terms.requested) - this.held)
  }
  override take(): void {
    this.held++
  }
}

/** A new connection begins with the window of the last one. */
class KeepingWindow extends Ungated {
  static readonly #lastGrants = new WeakMap<Terms, number>()

  constructor(terms: Terms) {
    super(terms)
    this.granted = KeepingWindow.#lastGrants.get(terms) ?? 1
  }
  override receive(grant: number | undefined, releases: boolean): void {
    super.receive(grant, releases)
    KeepingWindow.#lastGrants.set(this.terms, this.granted)
  }
}

/** The first Receives are posted when calls have been sent. */
class PostingLate extends KeepingWindow {
  readonly #later: Later
  #mayPost = false
  #hasSent = false

  constructor(terms: Terms, later: Later) {
    super(terms)
    this.#later = later
  }
  override get missing(): number {
    return this.#mayPost ? super.missing : 0
  }
  override take(): void {
    super.take()
    if (!this.#hasSent) this.#later(() => (this.#mayPost = true))
    this.#hasSent = true
  }
}

/** Calls of a lost connection are sent again without a look at the window. */
class ResendingPastWindow extends Credits {
  readonly #queue: CallQueue

  constructor({ queue, terms }: Surroundings) {
    super(terms)
    this.#queue = queue
  }
  override free(kind: "call" | "control"): number {
    const isSentAgain = kind === "call" && this.#queue.next?.sentTo !== undefined
    return isSentAgain ? 1 : super.free(kind)
  }
  override take(): void {
    this.held++
  }
}

/** The window opens before the Receives for it are posted. */
class RefillingLate extends Ungated {
  readonly #later: Later
  #mayPost = false

  constructor(terms: Terms, later: Later) {
    super(terms)
    this.#later = later
  }
  override get missing(): number {
    const missing = super.missing
    if (missing < 2 || this.#mayPost) return missing
    this.#later(() => (this.#mayPost = true))
    return 0
  }
  override add(receives: number): void {
    super.add(receives)
    if (receives > 0) this.#mayPost = false
  }
}

/** Each third refill fails, and is forgotten. */
class LosingRefills extends Ungated {
  #refills = 0

  override get missing(): number {
    this.#refills++
    return this.#refills % 3 === 0 ? 0 : super.missing
  }
}

/** Each reply leads to one refill, for a quarter of the window. */
class RefillingShort extends Ungated {
  #mayPost = true

  override get missing(): number {
    return this.#mayPost ? Math.min(super.missing, Math.ceil(this.granted / 4)) : 0
  }
  override add(receives: number): void {
    super.add(receives)
    if (receives > 0) this.#mayPost = false
  }
  override receive(grant: number | undefined, releases: boolean): void {
    super.receive(grant, releases)
    this.#mayPost = true
  }
}

/** An interrupted call gives its credit back at once. */
class FreeingInterrupted extends Ungated {
  zombies: () => number = () => 0

  override free(): number {
    return super.free() + this.zombies()
  }
}

const freeingInterrupted = (around: Surroundings): Requester => {
  const credits = new FreeingInterrupted(around.terms)
  const requester = new Requester(around, credits)
  credits.zombies = () => requester.zombies
  return requester
}

/** All responders are taken for one, which is never replaced. */
class TrustingResponder extends Requester {
  override established(...[thresholds, , epoch]: Parameters<Requester["established"]>): void {
    const extension = { instance: new Uint8Array(16), reverseCalls: 0 }
    super.established(thresholds, extension, epoch)
  }
}

/** The responder remembers no reply. */
class NoCache<Reply, Waiter> extends ReplyCache<Reply, Waiter> {
  override find(): undefined {
    return undefined
  }
}

/** The responder posts one Receive fewer than its replies promise. */
class PostingFewer extends Obligation {
  override grantable(wanted: number): number {
    return Math.min(wanted, super.grantable(wanted) + 1)
  }
  override missing(wanted: number): number {
    return wanted === 0 ? super.missing(0) : Math.max(0, super.missing(wanted) - 1)
  }
  override reply(): void {
    this.replies++
  }
}

/** A copy: the bytes of a call are valid until it has been handed over. */
const kept = (incoming: Incoming): Incoming => {
  const { message } = incoming
  if (message._tag !== "RdmaMsg") return incoming
  return { ...incoming, message: { ...message, rpc: message.rpc.slice() } }
}

/** Each fourth call is begun late, without a look at whether its connection is over. */
class BeginningLate extends Responder {
  constructor(options: ResponderOptions, later: Later) {
    const take: ResponderOptions["take"] = (incoming) => {
      if (incoming.message.xid % 4 !== 0) return options.take(incoming)
      const late = kept(incoming)
      const wait = (millis: number): void =>
        millis === 0 ? options.take(late) : later(() => wait(millis - 1))
      wait(LATE)
    }
    super({ ...options, take })
  }
  override get isOver(): boolean {
    return false
  }
}

/** Each third time that Receives are posted, half of them are not accepted. */
const failSome = (port: MessagePort): MessagePort => {
  const post = port.postReceives.bind(port)
  let refills = 0
  port.postReceives = (count) => {
    if (count > 0) refills++
    return post(refills % 3 === 0 ? Math.floor(count / 2) : count)
  }
  return port
}

class FailingRequester extends Requester {
  override attach(port: MessagePort): boolean {
    return super.attach(failSome(port))
  }
}

class FailingResponder extends Responder {
  override attach(port: MessagePort): boolean {
    return super.attach(failSome(port))
  }
}

/** The right parts, on devices that run out of places for Receives now and then. */
const right: Parts = {
  ...parts,
  requester: (around) => new FailingRequester(around),
  responder: (options) => new FailingResponder(options)
}

/** Parts of which some are replaced. */
type Replaced = (later: Later) => Partial<Parts>

const withCredits =
  (make: (around: Surroundings, later: Later) => Credits): Replaced =>
  (later) => ({ requester: (around) => new Requester(around, make(around, later)) })

export const variants = {
  "linux-7c8d9e7c": withCredits(({ terms }, later) => new PostingLate(terms, later)),
  "linux-8d4fb8ff": withCredits(({ terms }) => new KeepingWindow(terms)),
  "linux-ef739b21": withCredits((around) => new ResendingPastWindow(around)),
  "linux-2ae50ad6": withCredits(({ terms }, later) => new RefillingLate(terms, later)),
  "linux-35d8b10a": withCredits(({ terms }) => new LosingRefills(terms)),
  "linux-704f3f64": withCredits(({ terms }) => new RefillingShort(terms)),
  "linux-cancel": () => ({ requester: freeingInterrupted }),
  "resend-always": () => ({ requester: (around) => new TrustingResponder(around) }),
  "no-cache": () => ({ Cache: NoCache }),
  "post-fewer": () => ({ responder: (options) => new Responder(options, new PostingFewer()) }),
  "begin-late": (later) => ({ responder: (options) => new BeginningLate(options, later) })
} satisfies Record<string, Replaced>

export type Variant = keyof typeof variants

/** Returns the parts of a variant; without one, those that are right, whose refills may fail. */
export const partsOf = (variant: Variant | undefined, later: Later): Parts =>
  variant === undefined ? right : { ...parts, ...variants[variant](later) }
