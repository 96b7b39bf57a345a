/**
 * The credits of one connection: how many calls may be in flight, and what must be posted first.
 *
 * A call needs a Receive at the responder, which the responder grants, and a Receive here for the
 * reply, which the requester posts. If either is missing, the Send that finds no Receive ends the
 * connection, and all calls are pending again. So the requester sends only while
 *
 *   held < min(requested, granted, posted − reverse)
 *
 * and everything that a completed Receive changes happens in one order: the Receive is counted,
 * the grant is clamped, the credit is released, the missing Receives are posted, calls are sent.
 * A connection begins with a grant of 1, whatever the last one granted (RFC 8166, 3.3.3).
 */

import { ok as assert } from "node:assert/strict"

/** Limits of the requester, fixed for the connection. */
export interface Terms {
  /** Credits that each call asks for: the most calls that are ever in flight. */
  readonly requested: number
  /** Receives for the responder's calls in the reverse direction, and for replies to such calls. */
  readonly reverse: number
}

/** The credits of a requester, for one connection. */
export class Credits {
  readonly terms: Terms
  /** Grant of the last valid reply, clamped to 1 … `requested`. */
  granted = 1
  /** Receives that were posted and have not completed. */
  posted = 0
  /** Calls sent whose reply has not arrived; interrupted ones included. */
  held = 0
  /** Calls of the responder that have arrived and are not answered. */
  unanswered = 0

  constructor(terms: Terms) {
    assert(terms.requested >= 1 && terms.reverse >= 0)
    this.terms = terms
  }

  /** Calls that may be in flight now. */
  get limit(): number {
    const { requested, reverse } = this.terms
    return Math.min(requested, this.granted, this.posted - reverse)
  }

  /**
   * Calls that may be sent now. With a limit of at least 2 the last credit is kept for control
   * calls: probing a silent peer, and cancelling an interrupted call.
   */
  free(kind: "call" | "control"): number {
    const kept = kind === "call" && this.limit >= 2 ? 1 : 0
    return Math.max(0, this.limit - kept - this.held)
  }

  /** Receives to post before calls are sent. */
  get missing(): number {
    return Math.max(0, this.granted + this.terms.reverse - this.posted)
  }

  /**
   * Whether a call of the responder may be answered now. The answer allows the responder to call
   * again, so the Receive that this call took must have been posted again before.
   */
  get mayAnswer(): boolean {
    const expected = this.terms.reverse - this.unanswered + 1
    return this.unanswered > 0 && this.posted >= this.held + expected
  }

  /** Counts Receives that were posted. */
  add(receives: number): void {
    this.posted += receives
  }

  /** Counts the answer to a call of the responder. */
  answer(): void {
    assert(this.mayAnswer, "an answer that leaves too few Receives")
    this.unanswered--
  }

  /** Takes a credit for a call that is about to be sent. */
  take(): void {
    assert(this.held < this.limit, "a call without a credit")
    this.held++
  }

  /** Counts a Receive that completed with a call of the responder. */
  receiveCall(): void {
    this.#consume()
    this.unanswered++
  }

  /**
   * Counts a Receive that completed with anything else. `grant` is that of a valid reply and
   * undefined otherwise; `releases` says whether the message answers a call that holds a credit.
   */
  receive(grant: number | undefined, releases: boolean): void {
    this.#consume()
    if (grant !== undefined) this.granted = Math.min(Math.max(grant, 1), this.terms.requested)
    if (!releases) return
    assert(this.held > 0, "a reply without a call")
    this.held--
  }

  #consume(): void {
    assert(this.posted > 0, "a completion without a Receive")
    this.posted--
  }
}

/**
 * The Receives of a responder, for one connection. Before reply number R leaves, the Receives
 * posted since the connection began must be at least the largest i + g(i) up to R, where g(i) is
 * what reply i grants: as many calls the requester may have sent by then.
 */
export class Obligation {
  /** Receives posted since the connection began. */
  posted = 0
  /** Replies sent. */
  replies = 0
  /** Receives that the replies so far have promised. */
  promised = 1

  /** The most that the next reply may grant; 0 if a Receive must be posted before any reply. */
  grantable(wanted: number): number {
    return Math.max(0, Math.min(wanted, this.posted - this.replies - 1))
  }

  /** Receives to post so that the next reply may grant `wanted`. */
  missing(wanted: number): number {
    return Math.max(0, Math.max(this.promised, this.replies + 1 + wanted) - this.posted)
  }

  /** Counts Receives that were posted. */
  add(receives: number): void {
    this.posted += receives
  }

  /** Counts a reply that is about to be sent with this grant. */
  reply(grant: number): void {
    assert(grant >= 1 && grant <= this.grantable(grant), "a grant without a Receive")
    this.replies++
    this.promised = Math.max(this.promised, this.replies + grant)
  }
}
