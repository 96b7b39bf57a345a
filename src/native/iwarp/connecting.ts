/** Connections by the provider's own means: MPA's request and reply, with private data. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import { unlimited } from "../../schema/iwarp/Mpa.ts"
import type {
  AcceptOptions,
  Address,
  Connection,
  ConnectOptions,
  Disconnect,
  Terms as WantedTerms
} from "../verbs/Connection.ts"
import type { QueuePair } from "../verbs/QueuePair.ts"
import { defaults } from "../verbs/QueuePairState.ts"
import { hold, Holding } from "../verbs/soft/holdings.ts"
import {
  type AcceptError,
  type ConnectError,
  ConnectRejected,
  IllegalTransition,
  InvalidAttribute,
  LimitExceeded,
  type ModifyError,
  Unreachable
} from "../verbs/VerbsError.ts"
import type { OpenFailed } from "../OpenFailed.ts"
import type { Card } from "./card.ts"
import * as Link from "./link.ts"
import { fetchLimit } from "./queueMemory.ts"
import { IwarpQueuePair } from "./queuePair.ts"
import { type Agreed, hexOf, octetsOf, type Terms } from "./talk.ts"

/** Octets of private data: what MPA carries beside its own prefix. */
export const privateDataLimit = 508

/** Limits that a peer leaves open count as the most that we have. */
const reads = (limit: number): number => (limit === unlimited ? fetchLimit : limit)

/** What this side wants, as a session is told. */
const termsOf = (card: Card, terms: WantedTerms): Terms => ({
  crc: card.settings.crc,
  ird: terms.inboundReads ?? defaults.inboundReads,
  ord: terms.outboundReads ?? defaults.outboundReads,
  privateData: hexOf(terms.privateData ?? new Uint8Array(0))
})

/** One side of a connection. */
class IwarpConnection implements Connection {
  readonly peer: Address
  privateData: Uint8Array = new Uint8Array(0)
  inboundReads = 0
  outboundReads = 0
  readonly holding: Holding
  readonly disconnect: Effect.Effect<void>
  readonly disconnected: Effect.Effect<Disconnect>
  readonly #queuePair: IwarpQueuePair
  readonly #end = Deferred.makeUnsafe<Disconnect>()

  constructor(queuePair: IwarpQueuePair, peer: Address) {
    this.#queuePair = queuePair
    this.peer = peer
    this.disconnect = Effect.sync(() => this.finish("disconnected"))
    this.disconnected = Deferred.await(this.#end)
    this.holding = new Holding("connection", [queuePair.holding], () => this.finish("disconnected"))
    queuePair.reserve()
    queuePair.disconnected = (why) => void Deferred.doneUnsafe(this.#end, Effect.succeed(why))
  }

  know(agreed: Agreed): void {
    this.privateData = octetsOf(agreed.privateData)
    this.inboundReads = reads(agreed.ird)
    this.outboundReads = reads(agreed.ord)
  }

  finish(why: Disconnect): void {
    if (!Deferred.isDoneUnsafe(this.#end)) this.#queuePair.fail(why)
  }
}

/** The queue pair and the private data, if they are fit for a connection. */
const fit = (
  card: Card,
  queuePair: QueuePair,
  terms: WantedTerms,
  operation: "connect" | "accept"
): Effect.Effect<IwarpQueuePair, ModifyError | LimitExceeded> => {
  const wanted = terms.privateData?.length ?? 0
  if (wanted > privateDataLimit) {
    const resource = "octets of private data"
    const over = { device: card.name, resource, limit: privateDataLimit, wanted }
    return Effect.fail(new LimitExceeded(over))
  }
  if (
    !(queuePair instanceof IwarpQueuePair) ||
    card.queuePairs.get(queuePair.number) !== queuePair
  ) {
    const detail = "not one of this device"
    return Effect.fail(new InvalidAttribute({ operation, attribute: "queuePair", detail }))
  }
  const { number, state: from } = queuePair
  const obstacle = queuePair.obstacle("rtr")
  if (obstacle !== undefined) return Effect.fail(obstacle)
  return from === "init"
    ? Effect.succeed(queuePair)
    : Effect.fail(new IllegalTransition({ queuePair: number, from, to: "rtr" }))
}

/** Makes a connection; what fails or is interrupted on the way ends it. */
const making = <E>(
  queuePair: IwarpQueuePair,
  peer: Address,
  make: (connection: IwarpConnection) => Effect.Effect<void, E>
): Effect.Effect<Connection, E, Scope.Scope> =>
  Effect.flatMap(hold(Effect.sync(() => new IwarpConnection(queuePair, peer))), (connection) =>
    Effect.as(
      Effect.onExit(make(connection), (exit) =>
        exit._tag === "Success" ? Effect.void : Effect.sync(() => connection.finish("failed"))
      ),
      connection
    )
  )

const nobody = new Set(["ECONNREFUSED"])

const errorOf = (peer: string, { code, message, step }: OpenFailed): ConnectError =>
  nobody.has(code)
    ? new ConnectRejected({ peer, reason: "no-listener", privateData: new Uint8Array(0) })
    : new Unreachable({ peer, step: step === "resolve" ? "address" : "connect", detail: message })

/** Why the peer does not want to, or how the attempt ended. */
const refusalOf = (peer: string, answer: Exclude<Link.Answer, { say: "settled" }>): ConnectError =>
  answer.say === "declined"
    ? new ConnectRejected({
        peer,
        reason: answer.reason,
        privateData: octetsOf(answer.privateData)
      })
    : new Unreachable({
        peer,
        step: "connect",
        detail: answer.say === "ended" ? answer.error.message : answer.detail
      })

/** Dials, and asks in the words of a revision. */
export const dial = Effect.fnUntraced(function* (
  card: Card,
  queuePair: IwarpQueuePair,
  to: Address,
  terms: Terms,
  revision: 1 | 2
): Effect.fn.Return<{ readonly link: Link.Link; readonly answer: Link.Answer }, OpenFailed> {
  const { peerToPeer } = card.settings
  const link = yield* Link.open(card.connect(to), card.scope)
  queuePair.attach(link)
  link.command({ do: "connect", ...terms, revision, peerToPeer, bind: queuePair.bind() })
  const answer = yield* Deferred.await(link.answer)
  return { link, answer }
})

/**
 * Asks once more in the words of revision 1 when the peer closes on an enhanced request: so do
 * peers of before RFC 6581.
 */
const ask = Effect.fnUntraced(function* (
  card: Card,
  queuePair: IwarpQueuePair,
  to: Address,
  terms: Terms
): Effect.fn.Return<Agreed, ConnectError> {
  const peer = `${to.host}:${to.port}`
  const { revision } = card.settings
  const failed = Effect.mapError((error: OpenFailed) => errorOf(peer, error))
  const first = yield* failed(dial(card, queuePair, to, terms, revision))
  const isOld = first.answer.say === "ended" && first.answer.error._tag !== "LaneClosed"
  const { answer } =
    isOld && revision === 2 ? yield* failed(dial(card, queuePair, to, terms, 1)) : first
  return answer.say === "settled" ? answer : yield* refusalOf(peer, answer)
})

/** Asks a listener for a connection. */
export const connect = Effect.fnUntraced(function* (
  card: Card,
  options: ConnectOptions
): Effect.fn.Return<Connection, ConnectError, Scope.Scope> {
  const queuePair = yield* fit(card, options.queuePair, options, "connect")
  const { to } = options
  const peer = `${to.host}:${to.port}`
  if (Gid.fromAddress(to.host) === undefined) {
    return yield* new Unreachable({ peer, step: "address", detail: "no IP address" })
  }
  return yield* making(queuePair, to, (connection) =>
    ask(card, queuePair, to, termsOf(card, options)).pipe(
      Effect.timeoutOrElse({
        duration: card.settings.connectWithin,
        orElse: () => Effect.fail(new Unreachable({ peer, step: "connect", detail: "no answer" }))
      }),
      Effect.map((agreed) => connection.know(agreed))
    )
  )
})

/** Answers a request with yes; without a link it has been answered before. */
export const accept = Effect.fnUntraced(function* (
  card: Card,
  link: Link.Link | undefined,
  options: AcceptOptions
): Effect.fn.Return<Connection, AcceptError, Scope.Scope> {
  const queuePair = yield* fit(card, options.queuePair, options, "accept")
  const given = (peer: string, detail: string) => new Unreachable({ peer, step: "accept", detail })
  if (link === undefined) return yield* given("the peer", "the request was answered before")
  const { address: host, port } = link.lane.peer
  const peer = `${host}:${port}`
  return yield* making(
    queuePair,
    { host, port },
    Effect.fnUntraced(function* (connection) {
      queuePair.attach(link)
      link.command({ do: "accept", ...termsOf(card, options), bind: queuePair.bind() })
      const isReady = yield* Deferred.await(link.ready).pipe(
        Effect.timeoutOrElse({
          duration: card.settings.connectWithin,
          orElse: () => Effect.succeed(false)
        })
      )
      if (!isReady || link.agreed === undefined) {
        return yield* given(peer, "it never said that it is ready")
      }
      connection.know(link.agreed)
    })
  )
})
