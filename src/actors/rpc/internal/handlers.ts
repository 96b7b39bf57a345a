/**
 * Handlers under way. One whose connection is lost goes on, since the same call may come again and
 * join it; if there are too many, the oldest of those is interrupted for a new one.
 */
import type * as Fiber from "effect/Fiber"

/** A client, with the number of its handlers. */
export interface HandlerOwner {
  handlers: number
  /** The newest of each XID. */
  readonly byXid: Map<number, Handler>
}

export interface HandlerLimits {
  readonly maxHandlers: number
  readonly maxHandlersPerClient: number
}

export interface Handler {
  readonly owner: HandlerOwner
  readonly xid: number
  /** Whether the connection that would be answered is over. */
  readonly isLost: () => boolean
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

export class Handlers {
  readonly #limits: HandlerLimits
  /** The oldest first. */
  readonly #running = new Set<Handler>()

  constructor(limits: HandlerLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#running.size
  }

  /** Adds a handler that did not end in its first step. */
  add(handler: Handler): void {
    const { owner, xid } = handler
    this.#running.add(handler)
    owner.handlers++
    owner.byXid.set(xid, handler)
  }

  /** Makes room for one more handler. False if there are too many, and none that can go. */
  makeRoom(owner: HandlerOwner): boolean {
    const { maxHandlers, maxHandlersPerClient } = this.#limits
    if (owner.handlers >= maxHandlersPerClient) {
      return this.#giveUpOldest((handler) => handler.owner === owner)
    }
    return this.#running.size < maxHandlers || this.#giveUpOldest(() => true)
  }

  #giveUpOldest(isMeant: (handler: Handler) => boolean): boolean {
    for (const handler of this.#running) {
      if (!isMeant(handler) || !handler.isLost()) continue
      // At once: its finalizers may take a while, and the next call gives up the next one.
      this.remove(handler)
      handler.fiber.interruptUnsafe()
      return true
    }
    return false
  }

  remove(handler: Handler): void {
    const { owner, xid } = handler
    if (this.#running.delete(handler)) owner.handlers--
    if (owner.byXid.get(xid) === handler) owner.byXid.delete(xid)
  }
}
