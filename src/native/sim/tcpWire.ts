/**
 * One direction of a simulated TCP connection. Segments arrive in order, or later if they are lost,
 * or not at all: the sender repeats what the wires do not carry, and gives up after a while.
 */
import type { Network, Node } from "./network.ts"
import type { TlsSettings } from "../io/IoPool.ts"

/** A piece of a stream, or what the kernels and their TLS tell each other. */
export type Segment =
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  | { readonly _tag: "Open" }
  | { readonly _tag: "Opened" }
  /** Nothing listens there. */
  | { readonly _tag: "Refused" }
  | { readonly _tag: "End" }
  | { readonly _tag: "Reset" }
  /** The client's settings, then the server's, then that the client is content. */
  | { readonly _tag: "Hello" | "Answer" | "Finished"; readonly tls: TlsSettings }
  /** The client's certificate is refused, which it learns after its connect. */
  | { readonly _tag: "Alert" }

/** Milliseconds until the first repetition, and the longest between two: those of Linux. */
const [firstRepeatMs, longestRepeatMs] = [200, 3_200]
/** Milliseconds after which a sender gives up. Linux takes 15 minutes, longer than a run. */
const giveUpMs = 20_000

export class Wire {
  readonly #network: Network
  readonly #from: Node
  readonly #to: Node
  readonly #arrive: (segment: Segment) => void
  readonly #lost: () => void
  /** Nothing gets through any more, and neither end is told. */
  isDead = false
  #isOver = false
  #lastAt = 0
  readonly #underWay: Array<Segment> = []
  /** Segments that the wire has not carried, the oldest first. */
  #waiting: Array<Segment> = []
  #repeatMs = firstRepeatMs
  #waitingSince = 0

  constructor(
    network: Network,
    from: Node,
    to: Node,
    events: { readonly arrive: (segment: Segment) => void; readonly lost: () => void }
  ) {
    this.#network = network
    this.#from = from
    this.#to = to
    this.#arrive = events.arrive
    this.#lost = events.lost
  }

  send(segment: Segment): void {
    if (this.#isOver) return
    if (this.#waiting.length > 0) this.#waiting.push(segment)
    else if (!this.#carry(segment)) this.#wait(segment)
  }

  #carry(segment: Segment): boolean {
    const network = this.#network
    if (this.isDead || !network.passes(this.#from, this.#to)) return false
    const at = Math.max(this.#lastAt, network.now + network.millis(this.#from, this.#to))
    this.#lastAt = at
    // Two that arrive together are told in any order of their timers.
    this.#underWay.push(segment)
    network.after(at - network.now, () => this.#arrive(this.#underWay.shift()!))
    return true
  }

  #wait(segment: Segment): void {
    this.#waiting.push(segment)
    this.#waitingSince = this.#network.now
    this.#repeatMs = firstRepeatMs
    this.#network.after(this.#repeatMs, () => this.#repeat())
  }

  #repeat(): void {
    if (this.#isOver) return
    while (this.#waiting.length > 0) {
      if (!this.#carry(this.#waiting[0]!)) break
      this.#waiting.shift()
      this.#waitingSince = this.#network.now
      this.#repeatMs = firstRepeatMs
    }
    if (this.#waiting.length === 0) return
    if (this.#network.now - this.#waitingSince >= giveUpMs) {
      this.#isOver = true
      this.#waiting = []
      return this.#lost()
    }
    this.#repeatMs = Math.min(longestRepeatMs, 2 * this.#repeatMs)
    this.#network.after(this.#repeatMs, () => this.#repeat())
  }
}
