/**
 * Connections by a simulated connection manager: request, reply, ready to use; or a rejection.
 *
 * The side that asked is ready when the reply has come, the side that accepts when the last
 * message has: only then does it know that the other can receive.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import type {
  AcceptOptions,
  Address,
  Connection,
  ConnectOptions,
  Disconnect,
  Terms
} from "../verbs/Connection.ts"
import { defaults, type Mtu } from "../verbs/QueuePairState.ts"
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
import type { QueuePair } from "../verbs/QueuePair.ts"
import type { OpenDevice } from "./nic.ts"
import { type Connected, SimQueuePair } from "./queuePair.ts"

/** Octets of private data that a connection manager of InfiniBand carries. */
export const privateDataLimits = { connect: 56, accept: 196, reject: 148 } as const

/** How long the other side may think before the connection is given up, in milliseconds. */
const patienceMillis = 30_000

/** What one side tells the other. */
export interface Offer {
  readonly address: Address
  readonly gid: Gid.Gid
  readonly queuePair: number
  readonly sequence: number
  readonly mtu: Mtu
  readonly privateData: Uint8Array
  readonly inboundReads: number
  readonly outboundReads: number
  readonly rnrRetries: number
  readonly connection: SimConnection
  /** The other side accepts; `ready` is how it is told that this side is ready. */
  readonly accept: (reply: Offer, ready: (isReady: boolean) => void) => void
  readonly reject: (reason: ConnectRejected["reason"], privateData: Uint8Array) => void
}

/** One side of a connection. */
export class SimConnection implements Connection, Connected {
  peer: Address
  privateData: Uint8Array = new Uint8Array(0)
  inboundReads = 0
  outboundReads = 0
  readonly holding: Holding
  readonly disconnect: Effect.Effect<void>
  readonly disconnected: Effect.Effect<Disconnect>
  readonly #queuePair: SimQueuePair
  readonly #end = Deferred.makeUnsafe<Disconnect>()
  #other: { readonly gid: Gid.Gid; readonly connection: SimConnection } | undefined = undefined
  #hasEnded = false

  constructor(queuePair: SimQueuePair, peer: Address) {
    this.#queuePair = queuePair
    this.peer = peer
    this.disconnect = Effect.sync(() => this.finish("disconnected"))
    this.disconnected = Deferred.await(this.#end)
    this.holding = new Holding("connection", [queuePair.holding], () => this.finish("disconnected"))
    queuePair.connection = this
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** What the other side said is known. */
  know(other: Offer, own: Agreement): void {
    this.#other = other
    const isLost = this.#queuePair.nic.network.defects.dropPrivateData === true
    if (!isLost) this.privateData = other.privateData
    this.inboundReads = own.inboundReads
    this.outboundReads = own.outboundReads
  }

  queuePairFailed(why: Disconnect): void {
    this.finish(why)
  }

  /** Ends it on this side, and tells the other one. */
  finish(why: Disconnect): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    const { nic } = this.#queuePair
    this.#queuePair.fail(why)
    nic.network.after(0, () => Deferred.doneUnsafe(this.#end, Effect.succeed(why)))
    const other = this.#other
    if (other === undefined || why === "peer-disconnected" || why === "device-removed") return
    if (nic.network.defects.silentDisconnect === true) return
    nic.network.manage(nic, other.gid, () => other.connection.finish("peer-disconnected"))
  }
}

interface Agreement {
  readonly inboundReads: number
  readonly outboundReads: number
}

const agree = (terms: Terms, other: Offer): Agreement => ({
  inboundReads: Math.min(terms.inboundReads ?? defaults.inboundReads, other.outboundReads),
  outboundReads: Math.min(terms.outboundReads ?? defaults.outboundReads, other.inboundReads)
})

/** The queue pair and the private data, if they are fit for a connection. */
const fit = (
  device: OpenDevice,
  queuePair: QueuePair,
  terms: Terms,
  how: "connect" | "accept"
): Effect.Effect<SimQueuePair, ModifyError | LimitExceeded> => {
  const { nic } = device
  const wanted = terms.privateData?.length ?? 0
  const limit = privateDataLimits[how]
  if (wanted > limit) {
    const resource = "octets of private data"
    return Effect.fail(new LimitExceeded({ device: nic.name, resource, limit, wanted }))
  }
  if (!(queuePair instanceof SimQueuePair) || queuePair.nic !== nic) {
    const detail = "not one of this device"
    return Effect.fail(new InvalidAttribute({ operation: how, attribute: "queuePair", detail }))
  }
  const { number, state: from } = queuePair
  return from === "init"
    ? Effect.succeed(queuePair)
    : Effect.fail(new IllegalTransition({ queuePair: number, from, to: "rtr" }))
}

type Answers = Pick<Offer, "accept" | "reject">

const offerOf = (
  queuePair: SimQueuePair,
  connection: SimConnection,
  terms: Terms,
  answers: Answers
): Offer => {
  const { nic, number } = queuePair
  return {
    address: { host: Gid.toAddress(nic.gid), port: nic.newPort() },
    gid: nic.gid,
    queuePair: number,
    sequence: nic.network.surroundings.draw() >>> 8,
    mtu: nic.network.mtuOf(nic),
    privateData: terms.privateData?.slice() ?? new Uint8Array(0),
    inboundReads: terms.inboundReads ?? defaults.inboundReads,
    outboundReads: terms.outboundReads ?? defaults.outboundReads,
    rnrRetries: terms.rnrRetries ?? defaults.rnrRetries,
    connection,
    ...answers
  }
}

/** Takes the queue pair to `rts`, as both sides said. */
const settle = (queuePair: SimQueuePair, terms: Terms, own: Offer, other: Offer) => {
  const { inboundReads, outboundReads } = agree(terms, other)
  const mtu = own.mtu < other.mtu ? own.mtu : other.mtu
  const { gid, queuePair: peer, rnrRetries, sequence: peerSequence } = other
  return Effect.andThen(
    queuePair.modify({ to: "rtr", path: { gid }, mtu, peer, peerSequence, inboundReads }),
    queuePair.modify({
      to: "rts",
      firstSequence: own.sequence,
      retries: terms.retries,
      rnrRetries,
      outboundReads
    })
  )
}

const given = (peer: string, step: Unreachable["step"], detail: string) =>
  new Unreachable({ peer, step, detail })

const ended = (connection: SimConnection, peer: string, step: "connect" | "accept") =>
  Effect.flatMap(connection.disconnected, (why) => Effect.fail(given(peer, step, why)))

const noAnswer: Answers = { accept: () => undefined, reject: () => undefined }

/** Makes a connection; what fails or is interrupted on the way ends it on both sides. */
const making = <A, E>(
  queuePair: SimQueuePair,
  peer: Address,
  make: (connection: SimConnection) => Effect.Effect<A, E>
): Effect.Effect<A, E, Scope.Scope> =>
  Effect.flatMap(hold(Effect.sync(() => new SimConnection(queuePair, peer))), (connection) =>
    Effect.onExit(make(connection), (exit) =>
      exit._tag === "Success" ? Effect.void : Effect.sync(() => connection.finish("failed"))
    )
  )

/** Asks a listener for a connection. */
export const connect = Effect.fnUntraced(function* (
  device: OpenDevice,
  options: ConnectOptions
): Effect.fn.Return<Connection, ConnectError, Scope.Scope> {
  const queuePair = yield* fit(device, options.queuePair, options, "connect")
  const { nic } = device
  const peer = `${options.to.host}:${options.to.port}`
  const gid = Gid.fromAddress(options.to.host)
  if (gid === undefined) {
    return yield* new Unreachable({ peer, step: "address", detail: "no IP address" })
  }
  return yield* making(
    queuePair,
    options.to,
    Effect.fnUntraced(function* (connection) {
      const answer = Deferred.makeUnsafe<
        { readonly reply: Offer; readonly ready: (isReady: boolean) => void },
        ConnectRejected | Unreachable
      >()
      const own = offerOf(queuePair, connection, options, {
        accept: (reply, ready) => {
          if (connection.hasEnded) nic.network.manage(nic, reply.gid, () => ready(false))
          else Deferred.doneUnsafe(answer, Effect.succeed({ reply, ready }))
        },
        reject: (reason, privateData) =>
          void Deferred.doneUnsafe(
            answer,
            Effect.fail(new ConnectRejected({ peer, reason, privateData }))
          )
      })
      nic.network.manage(
        nic,
        gid,
        (target) => target.requested(options.to.port, own),
        () => void Deferred.doneUnsafe(answer, Effect.fail(given(peer, "route", "no way there")))
      )
      const { ready, reply } = yield* Deferred.await(answer).pipe(
        Effect.raceFirst(ended(connection, peer, "connect")),
        Effect.timeoutOrElse({
          duration: patienceMillis,
          orElse: () => Effect.fail(given(peer, "connect", "no answer"))
        })
      )
      connection.know(reply, agree(options, reply))
      yield* settle(queuePair, options, own, reply)
      nic.network.manage(nic, reply.gid, () => ready(true))
      return connection
    })
  )
})

/** Answers a request with yes. `claim` says whether nobody has answered it before. */
export const accept = Effect.fnUntraced(function* (
  device: OpenDevice,
  offer: Offer,
  options: AcceptOptions,
  claim: () => boolean
): Effect.fn.Return<Connection, AcceptError, Scope.Scope> {
  const queuePair = yield* fit(device, options.queuePair, options, "accept")
  const { nic } = device
  const peer = offer.address.host
  if (!claim()) return yield* given(peer, "accept", "the request was answered before")
  return yield* making(
    queuePair,
    offer.address,
    Effect.fnUntraced(function* (connection) {
      const own = offerOf(queuePair, connection, options, noAnswer)
      connection.know(offer, agree(options, offer))
      yield* settle(queuePair, options, own, offer)
      const isReady = Deferred.makeUnsafe<boolean>()
      const ready = (is: boolean) => void Deferred.doneUnsafe(isReady, Effect.succeed(is))
      nic.network.manage(nic, offer.gid, () => offer.accept(own, ready))
      if (nic.network.defects.acceptEarly === true) return connection
      const isEstablished = yield* Deferred.await(isReady).pipe(
        Effect.raceFirst(ended(connection, peer, "accept")),
        Effect.timeoutOrElse({ duration: patienceMillis, orElse: () => Effect.succeed(false) })
      )
      if (!isEstablished) return yield* given(peer, "accept", "it never said that it is ready")
      return connection
    })
  )
})
