/**
 * The clients of a server, each over all its connections, and with a journal over the lives of the
 * server too. All that have a connection are known. Beyond the limit one that has none goes for a
 * newer client: it executes nothing if possible, and was not heard for the longest time.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { JournalError } from "../../../schema/JournalRecord.ts"
import type { Extension } from "../../../schema/rpc/ConnectionData.ts"
import type { Met, ReplyRecord } from "../../../schema/rpc/ReplyRecord.ts"
import type { Store } from "../../kernel/Journal.ts"
import { type Remembered, ReplyLog, type Subject } from "./replyLog.ts"
import { isSame, type ReplyCache } from "./replyCache.ts"
import type { Answering, Incoming } from "./responder.ts"
import { ReverseCalls } from "./reverseCalls.ts"
import { answeredRecord, answerOf, nameIn, textOf } from "./replyRecords.ts"
import { type Answer, cached, ClientSession, plain } from "./session.ts"

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
  /** The one that was not heard for the longest time first. */
  readonly #all = new Map<string, ClientSession>()

  constructor(settings: SessionSettings, log: ReplyLog | undefined, parts: SessionParts) {
    this.#settings = settings
    this.#log = log
    this.#parts = parts
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
    for (const { cache } of sessions.#all.values()) cache.endAll(unknown)
    yield* log.run(sessions)
    const stored = [...sessions.#all].map(([client, session]) =>
      sessions.#store(log, client, session)
    )
    yield* Effect.all(stored, { discard: true })
    return sessions
  })

  get clients(): number {
    return this.#all.size
  }

  get size(): number {
    let size = 0
    for (const { cache } of this.#all.values()) size += 1 + cache.size
    return size
  }

  /** The session of a client that names its instance, or the one of all others of a principal. */
  of(principal: string, extension: Extension | undefined): ClientSession {
    const instance = extension === undefined ? "" : Buffer.from(extension.instance).toString("hex")
    const client = `${principal}/${instance}`
    const known = this.#all.get(client)
    const session = known ?? this.#make(principal)
    this.#all.delete(client)
    this.#all.set(client, session)
    if (known !== undefined) return known
    this.#makeRoom(session)
    if (this.#log !== undefined) session.isStored = this.#store(this.#log, client, session)
    return session
  }

  /** A connection of a client is over. */
  lost(session: ClientSession, connection: Answering, now: number): void {
    session.connections.delete(connection)
    session.lostAt = now
    if (session.isForgotten && session.connections.size === 0) session.reverse?.close()
  }

  /** Fails the calls to clients that have not come back in time. */
  sweep(now: number): void {
    for (const { connections, lostAt, reverse } of this.#all.values()) {
      if (connections.size === 0 && now - lostAt >= this.#settings.returnWithinMs) reverse?.close()
    }
  }

  close(): void {
    this.#log?.close()
    for (const { reverse } of this.#all.values()) reverse?.close()
  }

  record({ client, xid }: Subject): ReplyRecord | undefined {
    const session = this.#all.get(client)
    if (session === undefined || xid === undefined) {
      return session && this.#metRecord(client, session)
    }
    const { entry } = session.cache.see(xid)
    if (entry === undefined) return undefined
    const { answer } = entry
    const name = textOf(entry.name)
    return answer === undefined
      ? { _tag: "Begun", client, xid, name }
      : answeredRecord({ client, xid, name }, answer.reply)
  }

  #replay(record: ReplyRecord): void {
    const { client } = record
    if (record._tag === "Met") {
      const known = this.#all.get(client)
      const { incarnation, mark, principal } = record
      const isKnown = known !== undefined && Buffer.from(known.incarnation).equals(incarnation)
      const session = this.#make(principal, record)
      if (isKnown) session.cache = known.cache
      session.cache.granted(this.#settings.maxCredits)
      if (mark !== undefined) session.cache.forget(mark)
      this.#all.delete(client)
      this.#all.set(client, session)
      return this.#makeRoom(session)
    }
    const { xid } = record
    const name = nameIn(record.name)
    const cache = this.#all.get(client)?.cache
    if (cache === undefined) return
    const { entry = cache.begin(xid, name, undefined) } = cache.see(xid)
    const current = isSame(entry.name, name) ? entry : cache.begin(xid, name, undefined)
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
      begun: (xid, name) => log.add({ _tag: "Begun", client, xid, name: textOf(name) }),
      answered: (xid, name, answer) =>
        log.add(answeredRecord({ client, xid, name: textOf(name) }, answer))
    }
    return store()
  }

  /** Forgets others for a session. What they had begun is unknown to them when they come back. */
  #makeRoom(session: ClientSession): void {
    const absent = [
      (one: ClientSession) => one.isIdle,
      ({ connections }: ClientSession) => connections.size === 0
    ]
    for (const mayGo of absent) {
      for (const [client, other] of this.#all) {
        if (this.#all.size <= this.#settings.maxClients) return
        if (other !== session && mayGo(other)) this.#forget(client, other)
      }
    }
  }

  #forget(client: string, session: ClientSession): void {
    this.#all.delete(client)
    session.isForgotten = true
    session.reverse?.close()
  }
}
