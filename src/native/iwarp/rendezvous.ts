/**
 * Connects queue pairs out of band: two queue pairs that a handshake has introduced find each
 * other over TCP.
 *
 * A GID is an address and a LID a port: the one at which a device accepts such callers. Of two
 * queue pairs the first in the order of GID, LID and number dials, the other one waits. A caller
 * names itself and its peer in the private data of its request. It is accepted once that queue pair
 * has the caller as its peer, and only from the address of its GID. A shared secret, if both ends
 * have it, proves each to the other; so does the key of the two queue pairs, if their handshake has
 * given them one (`ToReadyToReceive.key`).
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import * as Gid from "../../schema/Gid.ts"
import { defaults, type ToReadyToReceive } from "../verbs/QueuePairState.ts"
import { noBytes } from "../verbs/provider/connection.ts"
import { dial } from "./connecting.ts"
import type { IwarpDevice } from "./openDevice.ts"
import type { SessionHandle } from "./sessionHandle.ts"
import { fetchesMax } from "./queueMemory.ts"
import type { IwarpQueuePair } from "./queuePair.ts"
import { hexOf, bytesOfHex, type MpaParams } from "./sessionProtocol.ts"
import { type ConnectRequestEvent, turnAway } from "./listening.ts"

/** "HFQP": these bytes begin the private data of such a request. */
const magic = 0x48465150
const requestBytes = 30

/** The identity of one end. */
interface End {
  readonly gid: Gid.Gid
  readonly lid: number
  readonly number: number
}

/** Milliseconds before the next try: first, and at most. */
const pauseMs = { first: 20, most: 500 } as const

const rendezvousRequest = (local: End, peer: number): Uint8Array => {
  const bytes = new Uint8Array(requestBytes)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, magic)
  view.setUint32(4, local.number)
  view.setUint32(8, peer)
  view.setUint16(12, local.lid)
  bytes.set(Gid.toBytes(local.gid), 14)
  return bytes
}

/** A rendezvous request, and the proofs behind it: of the secret, then of the key. */
interface RendezvousRequest {
  readonly from: End
  readonly to: number
  readonly hello: Uint8Array
  readonly proofs: Uint8Array
}

const decodeRequest = (privateData: string): RendezvousRequest | undefined => {
  const bytes = bytesOfHex(privateData)
  const view = new DataView(bytes.buffer)
  if (bytes.length < requestBytes || view.getUint32(0) !== magic) return undefined
  const said = bytes.subarray(0, requestBytes)
  const gid = Gid.fromBytes(said.subarray(14))
  const from = { gid, lid: view.getUint16(12), number: view.getUint32(4) }
  return { from, to: view.getUint32(8), hello: said, proofs: bytes.subarray(requestBytes) }
}

type Side = "caller" | "callee"

/** Proves that the sender knows a secret; empty without one. The two sides' proofs differ. */
const proofOf = (secret: string | undefined, side: Side, said: Uint8Array): Uint8Array =>
  secret === undefined
    ? noBytes
    : new Uint8Array(createHmac("sha256", secret).update(side).update(said).digest())

/** The proofs of the shared secret, and of the key of two queue pairs. */
const proofsOf = (
  secret: string | undefined,
  { key }: ToReadyToReceive,
  side: Side,
  said: Uint8Array
): Uint8Array => Buffer.concat([proofOf(secret, side, said), proofOf(key, side, said)])

const isSame = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && timingSafeEqual(one, other)

const isBefore = (one: End, other: End): boolean => {
  if (one.gid !== other.gid) return one.gid < other.gid
  return one.lid === other.lid ? one.number < other.number : one.lid < other.lid
}

/** A caller with a valid request. */
interface Caller extends RendezvousRequest {
  readonly link: SessionHandle
}

/** Connects the out-of-band queue pairs of a device to their peers. */
export class Rendezvous {
  readonly #device: IwarpDevice
  /** Callers whose queue pair does not have them as its peer yet, by its number. */
  readonly #callers = new Map<number, Caller>()
  /** Transitions to `rtr` for whose peer work is waiting. */
  readonly #timedPaths = new WeakSet<ToReadyToReceive>()

  constructor(device: IwarpDevice) {
    this.#device = device
  }

  /** Handles the request of a caller. */
  onCaller(link: SessionHandle, said: ConnectRequestEvent): void {
    const words = decodeRequest(said.privateData)
    const queuePair = words && this.#device.queuePairs.get(words.to)
    if (words === undefined || queuePair === undefined || !this.#isCredible(link, words)) {
      return turnAway(link, noBytes)
    }
    const { to } = words
    const caller = { link, ...words }
    if (this.#admitCaller(queuePair, caller)) return
    this.#turnAwayCaller(to)
    this.#callers.set(to, caller)
    const late = Effect.sync(() => {
      if (this.#callers.get(to) === caller) this.#turnAwayCaller(to)
    })
    this.#device.fork(Effect.delay(late, this.#device.settings.connectWithinMs))
  }

  /** Called when a queue pair gets its peer: calls it, or accepts its waiting call. */
  connectTo(queuePair: IwarpQueuePair): void {
    const path = queuePair.path!
    const local = this.#localEnd(queuePair)
    const peer: End = { gid: path.path.gid, lid: path.path.lid ?? 0, number: path.peer }
    if (isBefore(local, peer)) {
      // The address comes from the peer: only admitted addresses are called.
      if (!this.#device.admits(Gid.toAddress(peer.gid))) return
      this.#device.fork(this.#callPeer(queuePair, path, local, peer))
    } else {
      const caller = this.#callers.get(queuePair.number)
      if (caller !== undefined && this.#admitCaller(queuePair, caller)) {
        this.#callers.delete(queuePair.number)
      }
    }
  }

  /** Work is posted to a peer that is not connected: fails it after `peerWithinMs`. */
  startPeerTimeout(queuePair: IwarpQueuePair): void {
    const { path } = queuePair
    if (path === undefined || this.#timedPaths.has(path)) return
    this.#timedPaths.add(path)
    const late = Effect.sync(() => {
      const isVain = queuePair.path === path && !queuePair.hasPeer
      if (isVain) queuePair.fail("failed", "retry-exceeded")
    })
    this.#device.fork(Effect.delay(late, this.#device.settings.peerWithinMs))
  }

  #localEnd({ number, path }: IwarpQueuePair): End {
    const gid = this.#device.port.gids[path?.path.gidIndex ?? defaults.gidIndex]!
    return { gid, lid: this.#device.lid, number }
  }

  #terms(path: ToReadyToReceive, privateData: Uint8Array): MpaParams {
    const ird = path.inboundReads ?? defaults.inboundReads
    const { crc } = this.#device.settings
    // Our outbound reads are only known at the transition to `rts`.
    return { crc, ird, ord: fetchesMax, privateData: hexOf(privateData) }
  }

  #turnAwayCaller(number: number): void {
    const caller = this.#callers.get(number)
    this.#callers.delete(number)
    if (caller !== undefined) turnAway(caller.link, noBytes)
  }

  /** Whether a caller comes from the address of its GID, and knows the secret. */
  #isCredible(link: SessionHandle, { from, hello, proofs }: RendezvousRequest): boolean {
    const { arrivesFrom, secret } = this.#device.settings
    const source = arrivesFrom(Gid.toAddress(from.gid))
    const isThere = Gid.fromAddress(link.lane.peer.address) === Gid.fromAddress(source)
    const proof = proofOf(secret, "caller", hello)
    return isThere && isSame(proofs.subarray(0, proof.length), proof)
  }

  /** Accepts a caller, if its queue pair has it as its peer; ends one that never gets ready. */
  #admitCaller(queuePair: IwarpQueuePair, { from, hello, link, proofs }: Caller): boolean {
    const { path } = queuePair
    const isMeant =
      path !== undefined &&
      path.peer === from.number &&
      path.path.gid === from.gid &&
      (path.path.lid ?? defaults.lid) === from.lid
    if (!isMeant || queuePair.hasSession || link.hasEnded) return false
    const { secret } = this.#device.settings
    if (!isSame(proofs, proofsOf(secret, path, "caller", hello))) return false
    queuePair.attach(link)
    const proof = proofsOf(secret, path, "callee", hello)
    link.command({ do: "accept", ...this.#terms(path, proof), bind: queuePair.bind() })
    const settling = Deferred.await(link.ready).pipe(
      Effect.timeoutOption(this.#device.settings.connectWithinMs),
      Effect.map((isReady) => {
        if (isReady._tag === "None" || !isReady.value) queuePair.detach(link)
      })
    )
    this.#device.fork(settling)
    return true
  }

  /**
   * Calls until the peer accepts, the queue pair has another peer, or `callsMax` is reached: a host
   * that expects no calls may have the peer's address.
   */
  #callPeer(queuePair: IwarpQueuePair, path: ToReadyToReceive, local: End, peer: End) {
    const { settings } = this.#device
    const to = { host: Gid.toAddress(peer.gid), port: peer.lid }
    const said = rendezvousRequest(local, peer.number)
    const proofs = proofsOf(settings.secret, path, "caller", said)
    const expected = hexOf(proofsOf(settings.secret, path, "callee", said))
    const terms = this.#terms(path, Buffer.concat([said, proofs]))
    const device = this.#device
    const from = Gid.toAddress(local.gid)
    const isMeant = (): boolean => queuePair.path === path
    return Effect.gen(function* () {
      let pause: number = pauseMs.first
      for (let call = 0; call < settings.callsMax && isMeant(); call++) {
        const tried = yield* dial(device, queuePair, { to, from }, terms, settings.revision).pipe(
          Effect.timeoutOption(settings.connectWithinMs),
          Effect.catch(() => Effect.succeedNone)
        )
        const answer = tried._tag === "Some" ? tried.value.answer : undefined
        const isSettled = answer?.say === "settled"
        if (!isMeant() || (isSettled && answer.privateData === expected)) return
        if (isSettled && tried._tag === "Some") queuePair.detach(tried.value.link)
        else queuePair.detachUnsettled()
        yield* Effect.sleep(pause)
        pause = Math.min(pause * 2, pauseMs.most)
      }
    })
  }
}
