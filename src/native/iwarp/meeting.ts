/**
 * Connections out of band: two queue pairs that a handshake has told of each other meet here, over
 * TCP.
 *
 * A GID is an address and a LID a port: that at which a device takes such callers. Of two queue
 * pairs the one that comes first in the order of GID, LID and number dials, the other one waits.
 * A caller says who it is and whom it means in the private data of its request. It is taken in
 * once that queue pair means the caller too, and only from the address that its GID names. A
 * shared secret, if both ends have it, proves each to the other.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import * as Gid from "../../schema/Gid.ts"
import { defaults, type ToReadyToReceive } from "../verbs/QueuePairState.ts"
import { nothing } from "../verbs/soft/connection.ts"
import { dial } from "./connecting.ts"
import type { Card } from "./card.ts"
import type { Link } from "./link.ts"
import { fetchLimit } from "./queueMemory.ts"
import type { IwarpQueuePair } from "./queuePair.ts"
import { hexOf, octetsOf, type Terms } from "./talk.ts"
import { type Said, turnAway } from "./listening.ts"

/** "HFQP": these octets open the private data of such a request. */
const magic = 0x48465150
const helloBytes = 30

/** One end, as it is told apart from all others. */
interface End {
  readonly gid: Gid.Gid
  readonly lid: number
  readonly number: number
}

/** How long to wait before the next try, in milliseconds: first, and at most. */
const pauses = { first: 20, most: 500 } as const

const hello = (own: End, peer: number): Uint8Array => {
  const octets = new Uint8Array(helloBytes)
  const view = new DataView(octets.buffer)
  view.setUint32(0, magic)
  view.setUint32(4, own.number)
  view.setUint32(8, peer)
  view.setUint16(12, own.lid)
  octets.set(Gid.toOctets(own.gid), 14)
  return octets
}

/** What a hello says, and the proof behind it. */
interface Heard {
  readonly from: End
  readonly to: number
  readonly hello: Uint8Array
  readonly proof: Uint8Array
}

const heard = (privateData: string): Heard | undefined => {
  const octets = octetsOf(privateData)
  const view = new DataView(octets.buffer)
  if (octets.length < helloBytes || view.getUint32(0) !== magic) return undefined
  const said = octets.subarray(0, helloBytes)
  const gid = Gid.fromOctets(said.subarray(14))
  const from = { gid, lid: view.getUint16(12), number: view.getUint32(4) }
  return { from, to: view.getUint32(8), hello: said, proof: octets.subarray(helloBytes) }
}

/** Proves that the sender knows the secret; nothing without one. The two sides' proofs differ. */
const proofOf = (secret: string | undefined, side: "caller" | "callee", said: Uint8Array) =>
  secret === undefined
    ? nothing
    : new Uint8Array(createHmac("sha256", secret).update(side).update(said).digest())

const isSame = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && timingSafeEqual(one, other)

const isBefore = (one: End, other: End): boolean => {
  if (one.gid !== other.gid) return one.gid < other.gid
  return one.lid === other.lid ? one.number < other.number : one.lid < other.lid
}

/** A caller whose hello is good. */
interface Caller {
  readonly link: Link
  readonly from: End
  readonly hello: Uint8Array
}

/** Where the out-of-band queue pairs of a device meet their peers. */
export class Meeting {
  readonly #card: Card
  /** Callers whose queue pair does not mean them yet, by its number. */
  readonly #callers = new Map<number, Caller>()
  /** Steps to `rtr` for whose peer work is waiting. */
  readonly #awaited = new WeakSet<ToReadyToReceive>()

  constructor(card: Card) {
    this.#card = card
  }

  /** A caller has sent its request. */
  called(link: Link, said: Said): void {
    const words = heard(said.privateData)
    const queuePair = words && this.#card.queuePairs.get(words.to)
    if (words === undefined || queuePair === undefined || !this.#isCredible(link, words)) {
      return turnAway(link, nothing)
    }
    const { from, hello, to } = words
    const caller = { link, from, hello }
    if (this.#takeIn(queuePair, caller)) return
    this.#leave(to)
    this.#callers.set(to, caller)
    const late = Effect.sync(() => {
      if (this.#callers.get(to) === caller) this.#leave(to)
    })
    this.#card.fork(Effect.delay(late, this.#card.settings.connectWithin))
  }

  /** A queue pair knows its peer. */
  meet(queuePair: IwarpQueuePair): void {
    const path = queuePair.path!
    const own = this.#own(queuePair)
    const peer: End = { gid: path.path.gid, lid: path.path.lid ?? 0, number: path.peer }
    if (isBefore(own, peer)) this.#card.fork(this.#calling(queuePair, path, own, peer))
    else {
      const caller = this.#callers.get(queuePair.number)
      if (caller !== undefined && this.#takeIn(queuePair, caller)) {
        this.#callers.delete(queuePair.number)
      }
    }
  }

  /** Work is posted to a peer who is not there: it has its time to come. */
  awaited(queuePair: IwarpQueuePair): void {
    const { path } = queuePair
    if (path === undefined || this.#awaited.has(path)) return
    this.#awaited.add(path)
    const late = Effect.sync(() => {
      const isVain = queuePair.path === path && !queuePair.hasPeer
      if (isVain) queuePair.fail("failed", "retry-exceeded")
    })
    this.#card.fork(Effect.delay(late, this.#card.settings.connectWithin))
  }

  #own({ number, path }: IwarpQueuePair): End {
    const gid = this.#card.port.gids[path?.path.gidIndex ?? defaults.gidIndex]!
    return { gid, lid: this.#card.lid, number }
  }

  #terms(path: ToReadyToReceive, privateData: Uint8Array): Terms {
    const ird = path.inboundReads ?? defaults.inboundReads
    const { crc } = this.#card.settings
    // How many of ours may be under way is only said with the step to `rts`.
    return { crc, ird, ord: fetchLimit, privateData: hexOf(privateData) }
  }

  #leave(number: number): void {
    const caller = this.#callers.get(number)
    this.#callers.delete(number)
    if (caller !== undefined) turnAway(caller.link, nothing)
  }

  /** Whether a caller comes from the address that its GID names, and knows the secret. */
  #isCredible(link: Link, { from, hello, proof }: Heard): boolean {
    const { arrivesFrom, secret } = this.#card.settings
    const source = arrivesFrom(Gid.toAddress(from.gid))
    const isThere = Gid.fromAddress(link.lane.peer.address) === Gid.fromAddress(source)
    return isThere && isSame(proof, proofOf(secret, "caller", hello))
  }

  /** Takes a caller in, if its queue pair means it. One that is never ready is left again. */
  #takeIn(queuePair: IwarpQueuePair, { from, hello, link }: Caller): boolean {
    const { path } = queuePair
    const isMeant =
      path !== undefined &&
      path.peer === from.number &&
      path.path.gid === from.gid &&
      (path.path.lid ?? defaults.lid) === from.lid
    if (!isMeant || queuePair.hasLink || link.isEnded) return false
    queuePair.attach(link)
    const proof = proofOf(this.#card.settings.secret, "callee", hello)
    link.command({ do: "accept", ...this.#terms(path, proof), bind: queuePair.bind() })
    const settling = Deferred.await(link.ready).pipe(
      Effect.timeoutOption(this.#card.settings.connectWithin),
      Effect.map((isReady) => {
        if (isReady._tag === "None" || !isReady.value) queuePair.detach(link)
      })
    )
    this.#card.fork(settling)
    return true
  }

  /** Calls until the peer takes the call, or the queue pair does not mean it any more. */
  #calling(queuePair: IwarpQueuePair, path: ToReadyToReceive, own: End, peer: End) {
    const { settings } = this.#card
    const to = { host: Gid.toAddress(peer.gid), port: peer.lid }
    const said = hello(own, peer.number)
    const proof = proofOf(settings.secret, "caller", said)
    const expected = hexOf(proofOf(settings.secret, "callee", said))
    const terms = this.#terms(path, Buffer.concat([said, proof]))
    const card = this.#card
    const from = Gid.toAddress(own.gid)
    const isMeant = (): boolean => queuePair.path === path
    return Effect.gen(function* () {
      let pause: number = pauses.first
      while (isMeant()) {
        const tried = yield* dial(card, queuePair, { to, from }, terms, settings.revision).pipe(
          Effect.timeoutOption(settings.connectWithin),
          Effect.catch(() => Effect.succeedNone)
        )
        const answer = tried._tag === "Some" ? tried.value.answer : undefined
        const isSettled = answer?.say === "settled"
        if (!isMeant() || (isSettled && answer.privateData === expected)) return
        if (isSettled && tried._tag === "Some") queuePair.detach(tried.value.link)
        else queuePair.detachAny()
        yield* Effect.sleep(pause)
        pause = Math.min(pause * 2, pauses.most)
      }
    })
  }
}
