/** Connects through the provider: MPA's request and reply, with private data. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { unlimited } from "../../schema/iwarp/Mpa.ts"
import { addressText } from "../verbs/provider/connect.ts"
import {
  noBytes,
  ProviderConnection,
  type ResolvedConnectParams
} from "../verbs/provider/connection.ts"
import {
  type AcceptError,
  type ConnectError,
  ConnectRejected,
  Unreachable
} from "../verbs/VerbsError.ts"
import type { SocketOpenError } from "../io/PoolError.ts"
import type { IwarpDevice, Route } from "./openDevice.ts"
import * as Link from "./sessionHandle.ts"
import { fetchesMax } from "./queueMemory.ts"
import type { IwarpQueuePair } from "./queuePair.ts"
import { type NegotiatedParams, hexOf, bytesOfHex, type MpaParams } from "./sessionProtocol.ts"

/** Limits that a peer leaves open count as our largest. */
const reads = (limit: number): number => (limit === unlimited ? fetchesMax : limit)

/** The parameters of this side's request. */
const termsOf = (device: IwarpDevice, params: ResolvedConnectParams): MpaParams => ({
  crc: device.settings.crc,
  ird: params.inboundReads,
  ord: params.outboundReads,
  privateData: hexOf(params.privateData)
})

/** One side of a connection. */
export class IwarpConnection extends ProviderConnection<IwarpQueuePair> {
  onNegotiated({ ird, ord, privateData }: NegotiatedParams): void {
    const known = { inboundReads: reads(ird), outboundReads: reads(ord) }
    this.setNegotiated({ privateData: bytesOfHex(privateData), ...known })
  }
}

const refusedCodes = new Set(["ECONNREFUSED"])

const errorOf = (peer: string, { code, message, step }: SocketOpenError): ConnectError =>
  refusedCodes.has(code)
    ? new ConnectRejected({ peer, reason: "no-listener", privateData: noBytes })
    : new Unreachable({ peer, step: step === "resolve" ? "address" : "connect", detail: message })

/** The error of a request that the peer declined, or of an attempt that ended. */
const refusalOf = (peer: string, answer: Exclude<Link.Answer, { say: "settled" }>): ConnectError =>
  answer.say === "declined"
    ? new ConnectRejected({
        peer,
        reason: answer.reason,
        privateData: bytesOfHex(answer.privateData)
      })
    : new Unreachable({
        peer,
        step: "connect",
        detail: answer.say === "ended" ? answer.error.message : answer.detail
      })

/** Connects, and sends a request of a revision. */
export const dial = Effect.fnUntraced(function* (
  device: IwarpDevice,
  queuePair: IwarpQueuePair,
  way: Route,
  terms: MpaParams,
  revision: 1 | 2
): Effect.fn.Return<
  { readonly link: Link.SessionHandle; readonly answer: Link.Answer },
  SocketOpenError
> {
  const { peerToPeer } = device.settings
  const link = yield* Link.open(device.connect(way), device.scope)
  queuePair.attach(link)
  link.command({ do: "connect", ...terms, revision, peerToPeer, bind: queuePair.bind() })
  const answer = yield* Deferred.await(link.answer)
  return { link, answer }
})

/**
 * Asks a listener for a connection; once more with revision 1 if the peer rejects an enhanced
 * request with it. A connection that ends without an answer names no revision: with a peer of
 * before RFC 6581 that only closes, `Settings.revision` has to be 1.
 */
export const connect = Effect.fnUntraced(function* (
  device: IwarpDevice,
  connection: IwarpConnection,
  params: ResolvedConnectParams
): Effect.fn.Return<void, ConnectError> {
  const { peer: to, queuePair } = connection
  const peer = addressText(to)
  const terms = termsOf(device, params)
  const { revision } = device.settings
  const failed = Effect.mapError((error: SocketOpenError) => errorOf(peer, error))
  const first = yield* failed(dial(device, queuePair, { to }, terms, revision))
  const isOlder = first.answer.say === "declined" && first.answer.revision < revision
  const { answer } = isOlder ? yield* failed(dial(device, queuePair, { to }, terms, 1)) : first
  if (answer.say !== "settled") return yield* refusalOf(peer, answer)
  connection.onNegotiated(answer)
})

/** Accepts a request. */
export const accept = (
  device: IwarpDevice,
  link: Link.SessionHandle,
  connection: IwarpConnection,
  params: ResolvedConnectParams
): Effect.Effect<void, AcceptError> =>
  Effect.gen(function* () {
    const { peer, queuePair } = connection
    queuePair.attach(link)
    link.command({ do: "accept", ...termsOf(device, params), bind: queuePair.bind() })
    if (!(yield* Deferred.await(link.ready)) || link.negotiated === undefined) {
      const detail = "it did not signal that it is ready"
      return yield* new Unreachable({ peer: addressText(peer), step: "accept", detail })
    }
    connection.onNegotiated(link.negotiated)
  }).pipe(Effect.onError(() => Effect.sync(() => link.disconnect("at once"))))
