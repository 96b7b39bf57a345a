/** The client's end of the protocol for `effect/rpc`, over the calls of an `RpcClient`. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { RpcClientDefect, RpcClientError } from "effect/rpc/RpcClientError"
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import type { CallError, CallReply, CallRequest, Methods } from "../../RpcClient.ts"
import { ClientSession, type Delivery, type Pending } from "./clientSession.ts"
import type { MessageCodec } from "./codec.ts"
import { type DeliverResult, type Event, keyOf, maxEvents, type ProtocolRpcs } from "./messages.ts"
import { decodeSendResult, encodeSend, type SendResult } from "./sendMessages.ts"
import type { protocolClientDefaults } from "./settings.ts"

export interface Around {
  readonly calls: Methods<ProtocolRpcs, CallError>
  /** Makes the call that carries a message of the client. */
  readonly send: (call: CallRequest) => Effect.Effect<CallReply, CallError>
  readonly settings: typeof protocolClientDefaults
  readonly codec: MessageCodec
  /** The longest message that is received inline. */
  readonly inlineBytes: number
  readonly randomBytes: (length: number) => Uint8Array
  /** Runs something until the protocol ends. */
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly deliver: (clientId: number, message: FromServerEncoded) => Effect.Effect<void>
  readonly clientIds: ReadonlySet<number>
}

const errorOf = (message: string, cause?: unknown): RpcClientError =>
  new RpcClientError({ reason: new RpcClientDefect({ message, cause }) })

const lost = () => errorOf("the server was replaced, or has not heard this client for too long")

export class ProtocolClient {
  readonly #around: Around
  #session: ClientSession | undefined = undefined

  constructor(around: Around) {
    this.#around = around
  }

  /** Requests that have not ended. */
  get pending(): number {
    return this.#session?.pending.size ?? 0
  }

  send(clientId: number, message: FromClientEncoded): Effect.Effect<void, RpcClientError> {
    switch (message._tag) {
      case "Request":
        return this.#request(clientId, keyOf(message.id), message)
      case "Ack":
        return this.#tell(keyOf(message.requestId), message)
      case "Interrupt": {
        const request = keyOf(message.requestId)
        const told = Effect.ignore(this.#tell(request, message))
        return Effect.sync(() => {
          // The caller waits for a second only, and a lost connection may take longer.
          if (this.#session?.end(request) === true) this.#around.fork(told)
        })
      }
      default:
        return Effect.void
    }
  }

  /** Asks whether the server knows the session, if there are requests that have not ended. */
  get renew(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const session = this.#session
      if (session === undefined || session.startedClients.size === 0) return Effect.void
      return Effect.matchEffect(this.#around.calls.Renew({ session: session.id }), {
        onFailure: (error) => this.#lose(session, errorOf(error.message, error)),
        onSuccess: ({ _tag }) => (_tag === "Known" ? Effect.void : this.#lose(session, lost()))
      })
    })
  }

  /** Tells the server that this client ends. */
  get leave(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const session = this.#session
      if (session === undefined) return Effect.void
      session.isOver = true
      return Effect.ignore(this.#around.calls.Leave({ session: session.id }))
    })
  }

  /** Hands a request in, again if the server says that it has done nothing. */
  #request(
    clientId: number,
    request: string,
    message: FromClientEncoded
  ): Effect.Effect<void, RpcClientError> {
    return Effect.suspend(() => {
      const session = this.#session ?? this.#begin()
      const pending = session.begin(request, clientId)
      const call = this.#call(session, request, message)
      const sent = session.isOpen ? call : Effect.andThen(Deferred.await(session.opened), call)
      return Effect.flatMap(
        Effect.onError(sent, () => Effect.sync(() => session.end(request))),
        (result) =>
          result._tag === "Taken" && !session.isOver && session.pending.get(request) === pending
            ? this.#taken(session, request, pending, result.exit)
            : this.#notTaken(session, [clientId, request, message], pending, result)
      )
    })
  }

  /** The server has a request, and has answered it already if there is an exit. */
  #taken(
    session: ClientSession,
    request: string,
    pending: Pending,
    exit: Uint8Array | undefined
  ): Effect.Effect<void> {
    pending.isStarted = true
    if (exit === undefined) return Effect.void
    const body = { _tag: "Whole", message: exit } as const
    return this.#deliver(session, request, pending, { number: 0n, body })
  }

  #notTaken(
    session: ClientSession,
    [clientId, request, message]: [clientId: number, request: string, message: FromClientEncoded],
    pending: Pending,
    result: SendResult
  ): Effect.Effect<void, RpcClientError> {
    return Effect.gen({ self: this }, function* () {
      if (result._tag === "Forgotten") yield* this.#lose(session, lost())
      // It was interrupted meanwhile, or ended with the others of a session that is lost.
      if (session.pending.get(request) !== pending) return
      session.end(request)
      if (result._tag === "Forgotten") return yield* this.#request(clientId, request, message)
      return yield* result._tag === "Refused" ? errorOf(result.detail) : lost()
    })
  }

  /** A message about a request that the server has. */
  #tell(request: string, message: FromClientEncoded): Effect.Effect<void, RpcClientError> {
    return Effect.suspend(() => {
      const session = this.#session
      return session === undefined
        ? Effect.void
        : Effect.asVoid(this.#call(session, request, message))
    })
  }

  #call(
    session: ClientSession,
    request: string,
    message: FromClientEncoded
  ): Effect.Effect<SendResult, RpcClientError> {
    const { codec, send } = this.#around
    const call = encodeSend({ session: session.id, request, message: codec.encode(message) })
    return Effect.matchEffect(send(call), {
      onFailure: (error) => Effect.fail(errorOf(error.message, error)),
      onSuccess: ({ results }) => {
        const result = decodeSendResult(results)
        return result === undefined
          ? Effect.fail(errorOf("an answer that does not parse"))
          : Effect.succeed(result)
      }
    })
  }

  #begin(): ClientSession {
    const { calls, fork, inlineBytes, randomBytes } = this.#around
    const session = new ClientSession(randomBytes(16))
    this.#session = session
    const open = calls.Open({ session: session.id, inlineBytes }).pipe(
      Effect.mapError((error) => errorOf(error.message, error)),
      Effect.flatMap((result) =>
        result._tag === "Refused" ? errorOf(result.detail) : Effect.void
      ),
      Effect.tapError((error) => this.#lose(session, error))
    )
    fork(
      Effect.flatMap(Effect.exit(open), (exit) => {
        session.isOpen = Exit.isSuccess(exit)
        return Deferred.done(session.opened, exit)
      })
    )
    return session
  }

  /** Takes events of the server. */
  take(id: Uint8Array, events: ReadonlyArray<Event>): Effect.Effect<DeliverResult> {
    return Effect.sync(() => {
      const session = this.#session
      if (session === undefined || !Buffer.from(session.id).equals(id)) {
        return { _tag: "Forgotten" } as const
      }
      for (const event of session.take(events)) {
        const { request } = event
        if (request === "") this.#around.fork(this.#broadcast(session, event))
        const pending = session.pending.get(request)
        if (pending === undefined) continue
        pending.deliveries.push(event)
        this.#around.fork(
          session.deliver(pending, (one) => this.#deliver(session, request, pending, one))
        )
      }
      return { _tag: "Known" } as const
    })
  }

  /** Delivers one event of a request. The one that ends it is the last. */
  #deliver(
    session: ClientSession,
    request: string,
    { clientId }: Pending,
    delivery: Delivery
  ): Effect.Effect<void> {
    return Effect.flatMap(this.#fetch(session, delivery), (message) => {
      if (message === undefined || !session.pending.has(request)) return Effect.void
      if (message._tag === "Exit") session.end(request)
      return this.#around.deliver(clientId, message)
    })
  }

  /** A message that concerns all requests ends them. */
  #broadcast(session: ClientSession, delivery: Delivery): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const message = yield* this.#fetch(session, delivery)
      if (message === undefined) return
      const { clientIds, deliver } = this.#around
      session.pending.clear()
      yield* Effect.forEach([...clientIds], (clientId) => deliver(clientId, message), {
        discard: true
      })
    })
  }

  /** Returns the message of an event; undefined if the session is lost over it. */
  #fetch(
    session: ClientSession,
    { body, number }: Delivery
  ): Effect.Effect<FromServerEncoded | undefined> {
    const message =
      body._tag === "Whole"
        ? this.#decode(body.message)
        : Effect.flatMap(this.#fetchAnnounced(session, number, body.bytes), (bytes) =>
            bytes === undefined ? lost() : this.#decode(bytes)
          )
    return Effect.catch(message, (error) =>
      Effect.as(
        this.#lose(
          session,
          error instanceof RpcClientError ? error : errorOf("a message was lost", error)
        ),
        undefined
      )
    )
  }

  #decode(bytes: Uint8Array): Effect.Effect<FromServerEncoded, RpcClientError> {
    const message = this.#around.codec.decode(bytes) as FromServerEncoded | undefined
    return message === undefined
      ? Effect.fail(errorOf("a message that does not parse"))
      : Effect.succeed(message)
  }

  /** Fetches a message of so many bytes, and says which others are not needed any more. */
  #fetchAnnounced(session: ClientSession, number: bigint, bytes: number) {
    return Effect.gen({ self: this }, function* () {
      const { calls, settings } = this.#around
      const { maxMessageBytes } = settings
      if (bytes > maxMessageBytes)
        return yield* errorOf(`${bytes} bytes; at most ${maxMessageBytes}`)
      const done = [...session.done].slice(0, maxEvents)
      const fetched = yield* calls.Fetch({ session: session.id, number, bytes, done })
      for (const one of done) session.done.delete(one)
      session.done.add(number)
      return fetched._tag === "Fetched" ? fetched.message : undefined
    })
  }

  /**
   * The session is over. Clients with requests that the server has had are told, and those end all
   * their requests; others are handed in again.
   */
  #lose(session: ClientSession, error: RpcClientError): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (session.isOver) return Effect.void
      session.isOver = true
      if (this.#session === session) this.#session = undefined
      const told = session.startedClients
      for (const [request, { clientId }] of session.pending) {
        if (told.has(clientId)) session.pending.delete(request)
      }
      return Effect.forEach(
        told,
        (clientId) => this.#around.deliver(clientId, { _tag: "ClientProtocolError", error }),
        { discard: true }
      )
    })
  }
}
