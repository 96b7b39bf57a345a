/**
 * Connections by a simulated connection manager: request, reply, ready to use; or a rejection.
 *
 * The side that asked is ready when the reply has come, the side that accepts when the last
 * message has: only then does it know that the other can receive.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Gid from "../../schema/Gid.ts"
import type { Mtu } from "../../schema/Mtu.ts"
import type { Address, Disconnect } from "../verbs/Connection.ts"
import { type Asked, textOf } from "../verbs/provider/connect.ts"
import { SoftConnection, type Wishes } from "../verbs/provider/connection.ts"
import type { Ask, At } from "../verbs/provider/listen.ts"
import {
  type AcceptError,
  AddressInUse,
  type ConnectError,
  ConnectRejected,
  Unreachable
} from "../verbs/VerbsError.ts"
import type { Nic } from "./nic.ts"
import type { SimQueuePair } from "./queuePair.ts"

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
export class SimConnection extends SoftConnection<SimQueuePair> {
  #other: { readonly gid: Gid.Gid; readonly connection: SimConnection } | undefined = undefined

  /** What the other side said is known. */
  heard(other: Offer, wishes: Wishes): void {
    this.#other = other
    const isLost = this.queuePair.nic.network.defects.dropPrivateData === true
    const { privateData } = isLost ? this : other
    this.know({ privateData, ...agree(wishes, other) })
  }

  /** Whoever waits for the end runs by itself; the other side is told, unless it told us. */
  override left(why: Disconnect): void {
    const { nic } = this.queuePair
    nic.network.after(0, () => super.left(why))
    const other = this.#other
    if (other === undefined || why === "peer-disconnected" || why === "device-removed") return
    if (nic.network.defects.silentDisconnect === true) return
    nic.network.manage(nic, other.gid, () => other.connection.finish("peer-disconnected"))
  }
}

const agree = (wishes: Wishes, other: Offer) => ({
  inboundReads: Math.min(wishes.inboundReads, other.outboundReads),
  outboundReads: Math.min(wishes.outboundReads, other.inboundReads)
})

type Answers = Pick<Offer, "accept" | "reject">

const offerOf = (connection: SimConnection, wishes: Wishes, answers: Answers): Offer => {
  const { nic, number } = connection.queuePair
  return {
    address: { host: Gid.toAddress(nic.gid), port: nic.newPort() },
    gid: nic.gid,
    queuePair: number,
    sequence: nic.network.surroundings.draw() >>> 8,
    mtu: nic.network.mtuOf(nic),
    privateData: wishes.privateData,
    inboundReads: wishes.inboundReads,
    outboundReads: wishes.outboundReads,
    rnrRetries: wishes.rnrRetries,
    connection,
    ...answers
  }
}

/** Takes the queue pair to `rts`, as both sides said. */
const settle = (connection: SimConnection, wishes: Wishes, own: Offer, other: Offer) => {
  const { inboundReads, outboundReads } = agree(wishes, other)
  const { queuePair } = connection
  const mtu = own.mtu < other.mtu ? own.mtu : other.mtu
  const { gid, queuePair: peer, rnrRetries, sequence: peerSequence } = other
  const { sequence: firstSequence } = own
  const { retries } = wishes
  return Effect.andThen(
    queuePair.move({ to: "rtr", path: { gid }, mtu, peer, peerSequence, inboundReads }, connection),
    queuePair.move({ to: "rts", firstSequence, retries, rnrRetries, outboundReads }, connection)
  )
}

const noAnswer: Answers = { accept: () => undefined, reject: () => undefined }

/** Asks a listener for a connection. */
export const connect = Effect.fnUntraced(function* (
  nic: Nic,
  connection: SimConnection,
  wishes: Wishes
): Effect.fn.Return<void, ConnectError> {
  const peer = textOf(connection.peer)
  const answer = Deferred.makeUnsafe<
    { readonly reply: Offer; readonly ready: (isReady: boolean) => void },
    ConnectRejected | Unreachable
  >()
  const refuse = (why: ConnectRejected | Unreachable) =>
    void Deferred.doneUnsafe(answer, Effect.fail(why))
  const own = offerOf(connection, wishes, {
    accept: (reply, ready) => {
      if (connection.hasEnded) nic.network.manage(nic, reply.gid, () => ready(false))
      else Deferred.doneUnsafe(answer, Effect.succeed({ reply, ready }))
    },
    reject: (reason, privateData) => refuse(new ConnectRejected({ peer, reason, privateData }))
  })
  nic.network.manage(
    nic,
    Gid.fromAddress(connection.peer.host)!,
    (target) => target.requested(connection.peer.port, own),
    () => refuse(new Unreachable({ peer, step: "route", detail: "no way there" }))
  )
  const { ready, reply } = yield* Deferred.await(answer)
  connection.heard(reply, wishes)
  yield* settle(connection, wishes, own, reply)
  nic.network.manage(nic, reply.gid, () => ready(true))
})

/** Answers a request with yes. */
const accept = Effect.fnUntraced(function* (
  nic: Nic,
  offer: Offer,
  connection: SimConnection,
  wishes: Wishes
): Effect.fn.Return<void, AcceptError> {
  const own = offerOf(connection, wishes, noAnswer)
  connection.heard(offer, wishes)
  yield* settle(connection, wishes, own, offer)
  const isReady = Deferred.makeUnsafe<boolean>()
  const ready = (is: boolean) => void Deferred.doneUnsafe(isReady, Effect.succeed(is))
  nic.network.manage(nic, offer.gid, () => offer.accept(own, ready))
  if (nic.network.defects.acceptEarly === true || (yield* Deferred.await(isReady))) return
  const detail = "it gave up meanwhile"
  return yield* new Unreachable({ peer: textOf(connection.peer), step: "accept", detail })
})

const askedOf = (nic: Nic, offer: Offer): Asked<SimConnection> => ({
  peer: offer.address,
  privateData: offer.privateData,
  inboundReads: offer.outboundReads,
  outboundReads: offer.inboundReads,
  accept: (connection, wishes) => accept(nic, offer, connection, wishes),
  reject: (said) => nic.network.manage(nic, offer.gid, () => offer.reject("rejected", said))
})

/** Listens on a device's one address. */
export const listen = (
  nic: Nic,
  { hosts: [host = ""], port: wanted }: At,
  ask: Ask<SimConnection>
) =>
  Effect.suspend(() => {
    const port = wanted === 0 ? nic.newPort() : wanted
    if (nic.listeners.has(port)) return Effect.fail(new AddressInUse({ host, port }))
    nic.listeners.set(port, (offer) => ask(askedOf(nic, offer)) !== undefined)
    return Effect.succeed({ address: { host, port }, end: () => nic.listeners.delete(port) })
  })
