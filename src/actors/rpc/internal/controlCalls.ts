/**
 * The calls of one connection instance that no program of the user makes: NULL, which asks for the
 * first grant and whether the peer lives, and those that name interrupted calls to the responder.
 */
import type { Credits } from "../../link/Credits.ts"
import { type ControlCall, writeControl } from "./callMessages.ts"
import { nothingLent, type Outstanding } from "./callQueue.ts"
import { control, encodeInterrupts, maxInterrupts } from "./control.ts"
import type { Writable } from "./outgoing.ts"
import type { Surroundings } from "./surroundings.ts"

/** Sends a call that has a credit. */
type Hand = (xid: number, out: Outstanding, message: Writable) => void

const noArgs = new Uint8Array(0)

export class ControlCalls {
  /** Interrupted calls of this connection that the responder has not heard of. */
  readonly interrupted = new Set<number>()
  /** Whether the responder is of this library, and can end handlers of interrupted calls. */
  isOwnKind = false
  readonly #around: Surroundings
  readonly #credits: Credits
  readonly #hand: Hand
  /** Calls that are not answered. */
  #open = 0

  constructor(around: Surroundings, credits: Credits, hand: Hand) {
    this.#around = around
    this.#credits = credits
    this.#hand = hand
  }

  /** Calls NULL. */
  probe(): void {
    this.#call({ ...this.#around.program, procedure: 0, args: noArgs })
  }

  /** Names interrupted calls to the responder, as many as there are, one such call at a time. */
  nameInterrupted(): void {
    const { queue } = this.#around
    const { orphans } = queue
    if (orphans.size + this.interrupted.size === 0) return
    if (!this.isOwnKind) for (const xid of orphans) queue.endOrphan(xid)
    if (!this.isOwnKind || this.#open > 0 || this.#credits.free("control") === 0) return
    const names = [...orphans, ...this.interrupted].slice(0, maxInterrupts)
    for (const name of names) this.interrupted.delete(name)
    const { interrupt: procedure, program, version } = control
    this.#call({ program, version, procedure, args: encodeInterrupts(names) }, names)
  }

  answered({ names = [] }: Outstanding): void {
    this.#open--
    for (const name of names) this.#around.queue.endOrphan(name)
  }

  #call(call: ControlCall, names: ReadonlyArray<number> = []): void {
    const { now, queue, terms } = this.#around
    const xid = queue.takeXid()
    this.#open++
    const out = { call: undefined, lent: nothingLent, isProbe: true, names, since: now() }
    this.#hand(xid, out, { write: (to) => writeControl(to, call, xid, terms.requested) })
  }
}
