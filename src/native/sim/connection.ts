/**
 * Connections by a simulated connection manager: request, reply, ready to use; or a rejection.
 *
 * The side that asks is ready when the reply has come, the accepting side when the last message
 * has: only then does it know that the other can receive.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Gid from "../../schema/Gid.ts"
import type { Disconnect } from "../verbs/Connection.ts"
import { type IncomingRequest, addressText } from "../verbs/provider/connect.ts"
import { ProviderConnection, type ResolvedConnectParams } from "../verbs/provider/connection.ts"
import type { OnRequest, ListenAddress } from "../verbs/provider/listen.ts"
import {
  type AcceptError,
  AddressInUse,
  type ConnectError,
  ConnectRejected,
  Unreachable
} from "../verbs/VerbsError.ts"
import type { ConnectMessage } from "./message.ts"
import type { Nic } from "./nic.ts"
import type { SimQueuePair } from "./queuePair.ts"

/** One side of a connection. */
export class SimConnection extends ProviderConnection<SimQueuePair> {
  #other: Pick<ConnectMessage, "gid" | "disconnected"> | undefined = undefined

  /** Called with the other side's parameters. */
  onPeerParams(other: ConnectMessage, params: ResolvedConnectParams): void {
    this.#other = other
    this.setNegotiated({ privateData: other.privateData, ...negotiate(params, other) })
  }

  /** Waiters of the end run in another task; the other side is notified unless it ended first. */
  override onLeft(why: Disconnect): void {
    const { nic } = this.queuePair
    nic.network.after(0, () => super.onLeft(why))
    const other = this.#other
    if (other === undefined || why === "peer-disconnected" || why === "device-removed") return
    nic.network.manage(nic, other.gid, () => other.disconnected())
  }
}

const negotiate = (params: ResolvedConnectParams, other: ConnectMessage) => ({
  inboundReads: Math.min(params.inboundReads, other.outboundReads),
  outboundReads: Math.min(params.outboundReads, other.inboundReads)
})

type Answers = Pick<ConnectMessage, "accept" | "reject">

const offerOf = (
  connection: SimConnection,
  params: ResolvedConnectParams,
  answers: Answers
): ConnectMessage => {
  const { nic, number } = connection.queuePair
  return {
    address: { host: Gid.toAddress(nic.gid), port: nic.newPort() },
    gid: nic.gid,
    queuePair: number,
    sequence: nic.network.options.draw() >>> 8,
    mtu: nic.network.mtuOf(nic),
    privateData: params.privateData,
    inboundReads: params.inboundReads,
    outboundReads: params.outboundReads,
    rnrRetries: params.rnrRetries,
    disconnected: () => connection.finish("peer-disconnected"),
    ...answers
  }
}

/** Takes the queue pair to `rts`, with the parameters of both sides. */
const moveToReady = (
  connection: SimConnection,
  params: ResolvedConnectParams,
  local: ConnectMessage,
  other: ConnectMessage
) => {
  const { inboundReads, outboundReads } = negotiate(params, other)
  const { queuePair } = connection
  const mtu = local.mtu < other.mtu ? local.mtu : other.mtu
  const { gid, queuePair: peer, rnrRetries, sequence: peerSequence } = other
  const { sequence: firstSequence } = local
  const { retries } = params
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
  params: ResolvedConnectParams
): Effect.fn.Return<void, ConnectError> {
  const peer = addressText(connection.peer)
  const answer = Deferred.makeUnsafe<
    { readonly reply: ConnectMessage; readonly ready: (isReady: boolean) => void },
    ConnectRejected | Unreachable
  >()
  const refuse = (why: ConnectRejected | Unreachable) =>
    void Deferred.doneUnsafe(answer, Effect.fail(why))
  const local = offerOf(connection, params, {
    accept: (reply, ready) => {
      if (connection.hasEnded) nic.network.manage(nic, reply.gid, () => ready(false))
      else Deferred.doneUnsafe(answer, Effect.succeed({ reply, ready }))
    },
    reject: (reason, privateData) => refuse(new ConnectRejected({ peer, reason, privateData }))
  })
  nic.network.manage(
    nic,
    Gid.fromAddress(connection.peer.host)!,
    (target) => target.onConnectRequest(connection.peer.port, local),
    () => refuse(new Unreachable({ peer, step: "route", detail: "no way there" }))
  )
  const { ready, reply } = yield* Deferred.await(answer)
  connection.onPeerParams(reply, params)
  yield* moveToReady(connection, params, local, reply)
  nic.network.manage(nic, reply.gid, () => ready(true))
})

/** Accepts a request. */
const accept = Effect.fnUntraced(function* (
  nic: Nic,
  offer: ConnectMessage,
  connection: SimConnection,
  params: ResolvedConnectParams
): Effect.fn.Return<void, AcceptError> {
  const local = offerOf(connection, params, noAnswer)
  connection.onPeerParams(offer, params)
  yield* moveToReady(connection, params, local, offer)
  const isReady = Deferred.makeUnsafe<boolean>()
  const ready = (is: boolean) => void Deferred.doneUnsafe(isReady, Effect.succeed(is))
  nic.network.manage(nic, offer.gid, () => offer.accept(local, ready))
  if (yield* Deferred.await(isReady)) return
  const detail = "it gave up in the meantime"
  return yield* new Unreachable({ peer: addressText(connection.peer), step: "accept", detail })
})

const incomingRequestOf = (nic: Nic, offer: ConnectMessage): IncomingRequest<SimConnection> => ({
  peer: offer.address,
  privateData: offer.privateData,
  inboundReads: offer.outboundReads,
  outboundReads: offer.inboundReads,
  accept: (connection, params) => accept(nic, offer, connection, params),
  reject: (said) => nic.network.manage(nic, offer.gid, () => offer.reject("rejected", said))
})

/** Listens on a device's one address until the Scope closes. */
export const listen = (
  nic: Nic,
  { hosts: [host = ""], port: wanted }: ListenAddress,
  ask: OnRequest<SimConnection>
) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const port = wanted === 0 ? nic.newPort() : wanted
      if (nic.listeners.has(port)) return Effect.fail(new AddressInUse({ host, port }))
      const listener = (offer: ConnectMessage) => ask(incomingRequestOf(nic, offer)) !== undefined
      nic.listeners.set(port, listener)
      const end = () => {
        if (nic.listeners.get(port) === listener) nic.listeners.delete(port)
      }
      return Effect.succeed({ address: { host, port }, end })
    }),
    ({ end }) => Effect.sync(end)
  )
