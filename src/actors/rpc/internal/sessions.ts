/**
 * The clients of a server, each over all its connections. As many as the limit are remembered while
 * they have none, and with a log over the lives of the server too; the one that goes for a newer
 * client has no connection, and executes nothing if possible.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { JournalError } from "../../../schema/JournalRecord.ts"
import type { Extension } from "../../../schema/rpc/ConnectionData.ts"
import type { Met, ReplyRecord } from "../../../schema/rpc/ReplyRecord.ts"
import type { Store } from "../../kernel/Journal.ts"
import { BoundedStore } from "../../link/BoundedStore.ts"
import { type Remembered, ReplyLog, type Subject } from "./replyLog.ts"
import type { ReplyCache } from "./replyCache.ts"
import type { Answering, Incoming } from "./responder.ts"
import { ReverseCalls } from "./reverseCalls.ts"
import { answeredRecord, answerOf } from "./replyRecords.ts"
import { type Answer, cached, ClientSession, plain } from "./serving.ts"

export interface SessionSettings {
  readonly journal: Store | undefined
  readonly history: string
  readonly maxClients: number
  readonly maxCredits: number
  readonly maxCacheBytes: number
  readonly returnWithinMs: number
}

export interface SessionParts {
  readonly Cache: typeof ReplyCache
  readonly crypto: Pick<Crypto, "getRandomValues">
}

export class Sessions implements Remembered {
  readonly #settings: SessionSettings
  readonly #log: ReplyLog | undefined
  readonly #parts: SessionParts
  readonly #remembered: BoundedStore<string, ClientSession>

  constructor(settings: SessionSettings, log: ReplyLog | undefined, parts: SessionParts) {
    const { maxClients: capacity } = settings
    this.#settings = settings
    this.#log = log
    this.#parts = parts
    this.#remembered = new BoundedStore({ capacity, guests: capacity }, "fifo")
  }

  /** Remembers what older lives of the server have stored, if there is a journal. */
  static readonly make = Effect.fnUntraced(function* (
    settings: SessionSettings,
    parts: SessionParts
  ): Effect.fn.Return<Sessions, JournalError, Scope.Scope> {
    const { history, journal } = settings
    const log = journal && (yield* ReplyLog.open(journal, history))
    const sessions = new Sessions(settings, log, parts)
    if (log === undefined) return sessions
    yield* log.replay((record) => sessions.#replay(record))
    const unknown = cached(plain("SystemError"))
    for (const { cache } of sessions.#remembered.values) cache.endAll(unknown)
    yield* log.run(sessions)
    const stored = [...sessions.#remembered.entries].map(([client, session]) =>
      sessions.#store(log, client, session)
    )
    yield* Effect.all(stored, { discard: true })
    return sessions
  })

  get clients(): number {
    return this.#remembered.size
  }

  get size(): number {
    return this.#remembered.values.reduce((sum, { cache }) => sum + 1 + cache.size, 0)
  }

  /** The session of a client that names its instance, or the one of all others of a principal. */
  of(principal: string, extension: Extension | undefined): ClientSession {
    const instance = extension === undefined ? "" : Buffer.from(extension.instance).toString("hex")
    const client = `${principal}/${instance}`
    const known = this.#remembered.use(client, "peer")
    if (known !== undefined) return known
    const session = this.#make(principal)
    if (this.#remember(client, session) && this.#log !== undefined) {
      session.isStored = this.#store(this.#log, client, session)
    }
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
      if (connections.size === 0 && now - lostAt >= this.#settings.returnWithinMs) reverse?.close()
    }
  }

  close(): void {
    this.#log?.close()
    for (const { reverse } of this.#remembered.values) reverse?.close()
  }

  record({ client, xid }: Subject): ReplyRecord | undefined {
    const session = this.#remembered.get(client)
    if (session === undefined || xid === undefined) {
      return session && this.#metRecord(client, session)
    }
    const { entry } = session.cache.see(xid)
    if (entry === undefined) return undefined
    const { answer, name } = entry
    return answer === undefined
      ? { _tag: "Begun", client, xid, name }
      : answeredRecord({ client, xid, name }, answer.reply)
  }

  #replay(record: ReplyRecord): void {
    const { client } = record
    if (record._tag === "Met") {
      const known = this.#remembered.get(client)
      const { incarnation, mark, principal } = record
      const isKnown = known !== undefined && Buffer.from(known.incarnation).equals(incarnation)
      if (known !== undefined) this.#remembered.delete(client)
      const session = this.#make(principal, record)
      if (isKnown) session.cache = known.cache
      session.cache.granted(this.#settings.maxCredits)
      if (mark !== undefined) session.cache.forget(mark)
      this.#remember(client, session)
      return
    }
    const { name, xid } = record
    const cache = this.#remembered.get(client)?.cache
    if (cache === undefined) return
    const { entry = cache.begin(xid, name, undefined) } = cache.see(xid)
    const current = entry.name === name ? entry : cache.begin(xid, name, undefined)
    if (record._tag === "Begun" || current.answer !== undefined) return
    cache.finish(current, cached(answerOf(record)))
  }

  /** Makes the session of a client, which an older life of the server may have met. */
  #make(principal: string, met?: Pick<Met, "incarnation" | "reverseXid">): ClientSession {
    const { Cache, crypto } = this.#parts
    const cache = new Cache<Answer, Incoming>({ maxBytes: this.#settings.maxCacheBytes })
    const incarnation = met?.incarnation ?? crypto.getRandomValues(new Uint8Array(16))
    const firstXid = met?.reverseXid ?? crypto.getRandomValues(new Uint32Array(1))[0]!
    return new ClientSession(principal, incarnation, cache, new ReverseCalls(firstXid))
  }

  #metRecord(client: string, session: ClientSession): ReplyRecord {
    const { cache, incarnation, principal, reverse } = session
    const { reservedTo: reverseXid } = reverse!
    return { _tag: "Met", client, principal, incarnation, mark: cache.mark, reverseXid }
  }

  /** Stores a client, and from now on its calls. */
  #store(log: ReplyLog, client: string, session: ClientSession): Effect.Effect<void> {
    const store = () => log.add(this.#metRecord(client, session))
    session.reverse!.reserved = () => void store()
    session.log = {
      begun: (xid, name) => log.add({ _tag: "Begun", client, xid, name }),
      answered: (xid, name, answer) => log.add(answeredRecord({ client, xid, name }, answer))
    }
    return store()
  }

  /** False if there is no room for one more. */
  #remember(client: string, session: ClientSession): boolean {
    if (this.#remembered.limitReached("peer") !== undefined) this.#forgetOne()
    session.isRemembered = this.#remembered.limitReached("peer") === undefined
    if (session.isRemembered) this.#remembered.add(client, session, "peer")
    return session.isRemembered
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
