/** The server's end of the protocol for `effect/rpc`: sessions, and what their clients hand in. */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import type { RpcSerialization } from "effect/rpc/RpcSerialization"
import * as RpcProgram from "../../RpcProgram.ts"
import { MessageCodec } from "./codec.ts"
import { keyOf, type makeReverse, type ProtocolRpcs } from "./messages.ts"
import { decodeSend, encodeSendResult, type SendResult } from "./sendMessages.ts"
import { ServerSession } from "./serverSession.ts"
import type { protocolServerDefaults } from "./settings.ts"

type Settings = typeof protocolServerDefaults

/** Shared by the sessions of a server. */
export interface Ends {
  readonly write: (clientId: number, message: FromClientEncoded) => Effect.Effect<void>
  readonly reverse: ReturnType<typeof makeReverse>
  /** The longest message of this server inline. */
  readonly inlineBytes: number
  /** Runs something until the protocol ends. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** Interruptions that came before their requests, kept for one client. */
const maxInterrupted = 1_024

const noBytes = new Uint8Array(0)

const forgotten = { _tag: "Forgotten" } as const
const refused = (detail: string) => ({ _tag: "Refused", detail }) as const

export class ProtocolServer {
  /** Clients that are gone. */
  readonly disconnects: Queue.Queue<number>
  readonly #settings: Settings
  readonly #codec: MessageCodec
  readonly #clock: Clock.Clock
  /** The number of a session's client, and the client of a number; the oldest first. */
  readonly #byName = new Map<string, ServerSession>()
  readonly #byClient = new Map<number, ServerSession>()
  readonly #ends: Ends
  #nextClient = 0

  constructor(
    settings: Settings,
    serialization: RpcSerialization["Service"],
    clock: Clock.Clock,
    disconnects: Queue.Queue<number>,
    ends: Ends
  ) {
    this.#settings = settings
    this.#codec = new MessageCodec(serialization)
    this.#clock = clock
    this.disconnects = disconnects
    this.#ends = ends
  }

  get clientIds(): ReadonlySet<number> {
    return new Set(this.#byClient.keys())
  }

  /** Keeps a message for its client. One that cannot be sent fails here, and ends its request. */
  send(clientId: number, message: FromServerEncoded): Effect.Effect<void> {
    return Effect.sync(() => {
      const session = this.#byClient.get(clientId)
      const bytes = session === undefined ? noBytes : this.#codec.encode(message)
      if (session === undefined || bytes.length === 0) return
      const { maxHeldBytes, maxMessageBytes } = this.#settings
      if (bytes.length > maxMessageBytes) {
        throw new RangeError(`a message of ${bytes.length} bytes; at most ${maxMessageBytes}`)
      }
      const request = "requestId" in message ? keyOf(message.requestId) : ""
      session.push(request, bytes, message._tag === "Exit")
      if (session.heldBytes > maxHeldBytes) return this.#forget(session)
      this.#deliver(session)
    })
  }

  /** The handlers of the program. */
  readonly handlers: RpcProgram.Handlers<ProtocolRpcs, never> = {
    Open: ({ inlineBytes, session }, caller) =>
      Effect.sync(() => this.#open(session, caller, inlineBytes)),
    Renew: ({ session }, caller) =>
      this.#with(session, caller, () => Effect.succeed({ _tag: "Known" } as const)),
    Fetch: ({ done, number, session }, caller) =>
      this.#with(session, caller, (found) => {
        const message = found.fetch(number, done)
        return Effect.succeed(
          message === undefined ? forgotten : ({ _tag: "Fetched", message } as const)
        )
      }),
    Leave: ({ session }, caller) =>
      Effect.sync(() => {
        const found = this.#byName.get(nameOf(session, caller))
        if (found !== undefined) this.#forget(found)
      })
  }

  /** The procedure that takes messages of clients. */
  readonly sent: RpcProgram.Procedure = {
    handler: ({ args, ...caller }) => {
      const call = decodeSend(args)
      if (call === undefined) return Effect.fail(new RpcProgram.GarbageArgs())
      const { message, request, session } = call
      return Effect.map(
        this.#with(session, caller, (found) => this.#take(found, request, message)),
        (result) => ({ results: encodeSendResult(result) })
      )
    }
  }

  /** Forgets clients that were not heard for too long, as long as it runs. */
  get sweep(): Effect.Effect<never> {
    const { goneAfterMs } = this.#settings
    return Effect.sync(() => {
      const gone = this.#clock.currentTimeMillisUnsafe() - goneAfterMs
      for (const session of this.#byName.values()) {
        if (session.calls === 0 && session.idleSince <= gone) this.#forget(session)
      }
    }).pipe(Effect.delay(Math.max(1, goneAfterMs / 4)), Effect.forever)
  }

  /** Forgets all clients, which are answered so. */
  close(): void {
    for (const session of this.#byName.values()) this.#forget(session)
  }

  #open(id: Uint8Array, from: RpcProgram.Caller, inlineBytes: number) {
    const { caller } = from
    const name = nameOf(id, from)
    if (caller === undefined)
      return refused("the caller takes no calls: a server called its client")
    if (this.#byName.has(name)) return { _tag: "Opened" } as const
    const { maxSessions } = this.#settings
    if (this.#byName.size >= maxSessions) {
      const idle = [...this.#byName.values()].find(
        ({ calls, running }) => calls === 0 && running.size === 0
      )
      if (idle === undefined) return refused(`${maxSessions} clients are served`)
      this.#forget(idle)
    }
    const longest = Math.min(inlineBytes, this.#ends.inlineBytes)
    const now = this.#clock.currentTimeMillisUnsafe()
    const session = new ServerSession({ name, id }, this.#nextClient++, caller, longest, now)
    this.#byName.set(name, session)
    this.#byClient.set(session.clientId, session)
    return { _tag: "Opened" } as const
  }

  #with<Result>(
    id: Uint8Array,
    caller: RpcProgram.Caller,
    use: (session: ServerSession) => Effect.Effect<Result>
  ): Effect.Effect<Result | typeof forgotten> {
    return Effect.suspend((): Effect.Effect<Result | typeof forgotten> => {
      const session = this.#byName.get(nameOf(id, caller))
      if (session === undefined) return Effect.succeed(forgotten)
      session.calls++
      const done = Effect.sync(() => {
        session.calls--
        session.idleSince = this.#clock.currentTimeMillisUnsafe()
      })
      return Effect.ensuring(use(session), done)
    })
  }

  /** Hands a message of a client in. */
  #take(session: ServerSession, request: string, bytes: Uint8Array): Effect.Effect<SendResult> {
    const message = this.#codec.decode(bytes) as FromClientEncoded | undefined
    if (message === undefined) return Effect.succeed(refused("a message that does not parse"))
    const isRequest = message._tag === "Request" && message.isNotification !== true
    if (isRequest && session.running.size >= this.#settings.maxRequests) {
      const detail = `${this.#settings.maxRequests} requests have not ended`
      return Effect.succeed(refused(detail))
    }
    const handIn = this.#ends.write(session.clientId, message)
    if (isRequest) {
      return Effect.map(session.handIn(request, handIn), (exit) => ({ _tag: "Taken", exit }))
    }
    const isHere = message._tag !== "Interrupt" || session.interrupt(request, maxInterrupted)
    return Effect.as(isHere ? handIn : Effect.void, { _tag: "Taken", exit: undefined })
  }

  /** Delivers events, one call after the other, as long as there are any. */
  #deliver(session: ServerSession): void {
    if (session.isDelivering || !session.hasEvents) return
    session.isDelivering = true
    const { Deliver } = RpcProgram.callBack(this.#ends.reverse, session.caller)
    const { id } = session
    const once = Effect.suspend(() => {
      const events = session.next
      session.announce(events)
      return Effect.map(Deliver({ session: id, events }), ({ _tag }) => {
        if (_tag === "Known") session.delivered(events)
        else this.#forget(session)
      })
    })
    // It ends in the same turn as it is seen to end, so that the next event begins another one.
    const isWanted = () => (session.isDelivering = !session.isOver && session.hasEvents)
    const all = Effect.whileLoop({ while: isWanted, body: () => once, step: () => undefined })
    this.#ends.fork(
      all.pipe(
        Effect.raceFirst(Deferred.await(session.ended)),
        Effect.catch(() => Effect.sync(() => this.#forget(session)))
      )
    )
  }

  #forget(session: ServerSession): void {
    this.#byName.delete(session.name)
    this.#byClient.delete(session.clientId)
    session.end()
    Queue.offerUnsafe(this.disconnects, session.clientId)
  }
}

/** A session belongs to the principal that has opened it. */
const nameOf = (session: Uint8Array, { principal }: RpcProgram.Caller): string =>
  `${principal}/${Buffer.from(session).toString("hex")}`
