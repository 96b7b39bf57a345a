/** Connections by the provider's own means: MPA's request and reply, with private data. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { unlimited } from "../../schema/iwarp/Mpa.ts"
import { textOf } from "../verbs/provider/connect.ts"
import { nothing, SoftConnection, type Wishes } from "../verbs/provider/connection.ts"
import {
  type AcceptError,
  type ConnectError,
  ConnectRejected,
  Unreachable
} from "../verbs/VerbsError.ts"
import type { OpenFailed } from "../io/OpenFailed.ts"
import type { Card, Way } from "./openDevice.ts"
import * as Link from "./sessionHandle.ts"
import { fetchLimit } from "./queueMemory.ts"
import type { IwarpQueuePair } from "./queuePair.ts"
import { type Agreed, hexOf, octetsOf, type Terms } from "./sessionProtocol.ts"

/** Limits that a peer leaves open count as the most that we have. */
const reads = (limit: number): number => (limit === unlimited ? fetchLimit : limit)

/** What this side wants, as a session is told. */
const termsOf = (card: Card, wishes: Wishes): Terms => ({
  crc: card.settings.crc,
  ird: wishes.inboundReads,
  ord: wishes.outboundReads,
  privateData: hexOf(wishes.privateData)
})

/** One side of a connection. */
export class IwarpConnection extends SoftConnection<IwarpQueuePair> {
  agreed({ ird, ord, privateData }: Agreed): void {
    const known = { inboundReads: reads(ird), outboundReads: reads(ord) }
    this.know({ privateData: octetsOf(privateData), ...known })
  }
}

const nobody = new Set(["ECONNREFUSED"])

const errorOf = (peer: string, { code, message, step }: OpenFailed): ConnectError =>
  nobody.has(code)
    ? new ConnectRejected({ peer, reason: "no-listener", privateData: nothing })
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
  way: Way,
  terms: Terms,
  revision: 1 | 2
): Effect.fn.Return<{ readonly link: Link.Link; readonly answer: Link.Answer }, OpenFailed> {
  const { peerToPeer } = card.settings
  const link = yield* Link.open(card.connect(way), card.scope)
  queuePair.attach(link)
  link.command({ do: "connect", ...terms, revision, peerToPeer, bind: queuePair.bind() })
  const answer = yield* Deferred.await(link.answer)
  return { link, answer }
})

/**
 * Asks a listener for a connection; once more in the words of revision 1 when the peer rejects an
 * enhanced request in those. A connection that ends without an answer names no revision: with a
 * peer of before RFC 6581 that only closes, `Settings.revision` has to be 1.
 */
export const connect = Effect.fnUntraced(function* (
  card: Card,
  connection: IwarpConnection,
  wishes: Wishes
): Effect.fn.Return<void, ConnectError> {
  const { peer: to, queuePair } = connection
  const peer = textOf(to)
  const terms = termsOf(card, wishes)
  const { revision } = card.settings
  const failed = Effect.mapError((error: OpenFailed) => errorOf(peer, error))
  const first = yield* failed(dial(card, queuePair, { to }, terms, revision))
  const isOlder = first.answer.say === "declined" && first.answer.revision < revision
  const { answer } = isOlder ? yield* failed(dial(card, queuePair, { to }, terms, 1)) : first
  if (answer.say !== "settled") return yield* refusalOf(peer, answer)
  connection.agreed(answer)
})

/** Answers a request with yes. */
export const accept = (
  card: Card,
  link: Link.Link,
  connection: IwarpConnection,
  wishes: Wishes
): Effect.Effect<void, AcceptError> =>
  Effect.gen(function* () {
    const { peer, queuePair } = connection
    queuePair.attach(link)
    link.command({ do: "accept", ...termsOf(card, wishes), bind: queuePair.bind() })
    if (!(yield* Deferred.await(link.ready)) || link.agreed === undefined) {
      const detail = "it never said that it is ready"
      return yield* new Unreachable({ peer: textOf(peer), step: "accept", detail })
    }
    connection.agreed(link.agreed)
  }).pipe(Effect.onError(() => Effect.sync(() => link.leave("at once"))))
