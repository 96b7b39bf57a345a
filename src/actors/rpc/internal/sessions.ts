/**
 * The clients of a server, each over all its connections. As many as the limit are remembered while
 * they have none; the one that goes for a newer client has none, and executes nothing if possible.
 */
import type { Extension } from "../../../schema/rpc/ConnectionData.ts"
import { BoundedStore } from "../../link/BoundedStore.ts"
import type { Answering } from "./responder.ts"
import type { ClientSession } from "./serving.ts"

export interface SessionLimits {
  readonly maxClients: number
  readonly returnWithinMs: number
}

export class Sessions {
  readonly #returnWithinMs: number
  readonly #make: (principal: string) => ClientSession
  readonly #remembered: BoundedStore<string, ClientSession>

  constructor(limits: SessionLimits, make: (principal: string) => ClientSession) {
    const { maxClients: capacity, returnWithinMs } = limits
    this.#returnWithinMs = returnWithinMs
    this.#make = make
    this.#remembered = new BoundedStore({ capacity, guests: capacity }, "fifo")
  }

  get size(): number {
    return this.#remembered.size
  }

  /** The session of a client that names its instance, or the one of all others of a principal. */
  of(principal: string, extension: Extension | undefined): ClientSession {
    const instance = extension === undefined ? "" : Buffer.from(extension.instance).toString("hex")
    const key = `${principal}/${instance}`
    const known = this.#remembered.use(key, "peer")
    if (known !== undefined) return known
    if (this.#remembered.limitReached("peer") !== undefined) this.#forgetOne()
    const session = this.#make(principal)
    session.isRemembered = this.#remembered.limitReached("peer") === undefined
    if (session.isRemembered) this.#remembered.add(key, session, "peer")
    return session
  }

  /** A connection of a client is over. */
  lost(session: ClientSession, connection: Answering, now: number): void {
    session.connections.delete(connection)
    session.lostAt = now
    if (!session.isRemembered && session.connections.size === 0) session.reverse?.close()
  }

  /** Fails the calls to clients that have not come back in time. */
  sweep(now: number): void {
    for (const { connections, lostAt, reverse } of this.#remembered.values) {
      if (connections.size === 0 && now - lostAt >= this.#returnWithinMs) reverse?.close()
    }
  }

  close(): void {
    for (const { reverse } of this.#remembered.values) reverse?.close()
  }

  /** What the client had begun is unknown to it when it comes back. */
  #forgetOne(): void {
    const forgotten =
      this.#remembered.evict("peer", ({ isIdle }) => isIdle) ??
      this.#remembered.evict("peer", ({ connections }) => connections.size === 0)
    if (forgotten === undefined) return
    const [, session] = forgotten
    session.isRemembered = false
    session.reverse?.close()
  }
}
