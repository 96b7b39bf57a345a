/**
 * Negotiates a stream from the two start-up frames: checksums, read limits, and which signal opens
 * the gate.
 *
 * Pure functions of the two frames, so both sides and an observer come to the same result. We never
 * request markers and refuse a peer that does. A read limit that the peer leaves open is the
 * largest number, so that the smaller one of two is right for it, too.
 */
import { type Enhanced, type MpaFrame, unlimited } from "./Mpa.ts"
import { Cause } from "./Terminate.ts"

/** The parameters of this side. */
export interface LocalParams {
  readonly revision: 1 | 2
  readonly crc: boolean
  /** Requests of the peer that may wait here. */
  readonly ird: number
  /** Requests of this side that may wait at the peer. */
  readonly ord: number
  /** The initiator opens the peer's gate by a signal, before any message. */
  readonly peerToPeer: boolean
  readonly privateData: Uint8Array
}

/** The initiator's first FPDU: an empty Send, Write or Read, or simply its first message. */
export type Ready = "message" | "send" | "write" | "read"

/** The negotiated parameters of a stream, as one side sees them. */
export interface Settled {
  readonly _tag: "Settled"
  readonly revision: number
  readonly crc: boolean
  readonly ready: Ready
  readonly ird: number
  readonly ord: number
  /** The peer's private data. */
  readonly privateData: Uint8Array
}

/** Why there will be no stream. `terminate` is for the initiator to send to the responder. */
export type Declined =
  | { readonly _tag: "Rejected"; readonly privateData: Uint8Array }
  | { readonly _tag: "MarkersWanted"; readonly terminate: Cause }
  | { readonly _tag: "NoMatchingReady"; readonly terminate: Cause }
  | { readonly _tag: "InsufficientIrd"; readonly wanted: number; readonly terminate: Cause }
  | { readonly _tag: "RevisionMismatch"; readonly revision: number; readonly terminate: Cause }

const none = new Uint8Array(0)

/**
 * The request for `wishes`. It offers the empty Write and Read as signals; an empty Send would
 * consume a receive of the peer.
 */
export const request = (wishes: LocalParams): MpaFrame => ({
  kind: "request",
  markers: false,
  crc: wishes.crc,
  reject: false,
  revision: wishes.revision,
  enhanced:
    wishes.revision === 1
      ? undefined
      : {
          peerToPeer: wishes.peerToPeer,
          readyBySend: false,
          readyByWrite: wishes.peerToPeer,
          readyByRead: wishes.peerToPeer && wishes.ord > 0,
          ird: wishes.ird,
          ord: wishes.ord
        },
  privateData: wishes.privateData
})

/** The reply that refuses a request, with private data for the reason. */
export const reject = (request: MpaFrame, privateData: Uint8Array): MpaFrame => ({
  kind: "reply",
  markers: false,
  crc: request.crc,
  reject: true,
  revision: request.revision,
  enhanced: request.enhanced && { ...silent, ird: 0, ord: 0 },
  privateData
})

const silent = { peerToPeer: false, readyBySend: false, readyByWrite: false, readyByRead: false }

/** Negotiates as the responder: the reply, and the settings or the reason to decline. */
export const respond = (
  request: MpaFrame,
  wishes: Pick<LocalParams, "crc" | "ird" | "ord" | "privateData">
): { readonly reply: MpaFrame; readonly outcome: Settled | Declined } => {
  if (request.markers) {
    const outcome: Declined = { _tag: "MarkersWanted", terminate: Cause.invalidStartup }
    return { reply: reject(request, none), outcome }
  }
  const asked = request.enhanced
  const ird = asked ? Math.min(wishes.ird, asked.ord) : wishes.ird
  const ord = asked ? Math.min(wishes.ord, asked.ird) : 0
  const ready = asked?.peerToPeer ? pick(asked, ird) : "message"
  if (ready === undefined) {
    const outcome: Declined = { _tag: "NoMatchingReady", terminate: Cause.noMatchingReady }
    return { reply: reject(request, none), outcome }
  }
  const reply: MpaFrame = {
    kind: "reply",
    markers: false,
    crc: wishes.crc || request.crc,
    reject: false,
    revision: request.revision,
    enhanced: asked && { peerToPeer: asked.peerToPeer, ...signal(ready), ird, ord },
    privateData: wishes.privateData
  }
  const { crc, revision } = reply
  const { privateData } = request
  return { reply, outcome: { _tag: "Settled", revision, crc, ready, ird, ord, privateData } }
}

/** Negotiates as the initiator, from the reply to its request. */
export const settle = (
  request: MpaFrame,
  reply: MpaFrame,
  wishes: Pick<LocalParams, "ird">
): Settled | Declined => {
  const { enhanced: answer, privateData, revision } = reply
  const asked = request.enhanced
  if (reply.reject) return { _tag: "Rejected", privateData }
  if (reply.markers) return { _tag: "MarkersWanted", terminate: Cause.invalidStartup }
  if (revision > request.revision || (answer !== undefined && asked === undefined)) {
    return { _tag: "RevisionMismatch", revision, terminate: Cause.invalidStartup }
  }
  const crc = request.crc || reply.crc
  if (asked === undefined || answer === undefined) {
    // The peer named no number of reads that it accepts, so none are sent.
    const ready = "message"
    return { _tag: "Settled", revision, crc, ready, ird: wishes.ird, ord: 0, privateData }
  }
  if (answer.ord !== unlimited && answer.ord > asked.ird) {
    return { _tag: "InsufficientIrd", wanted: answer.ord, terminate: Cause.insufficientIrd }
  }
  const ord = Math.min(asked.ord, answer.ird)
  const ready = asked.peerToPeer && answer.peerToPeer ? pick(both(asked, answer), ord) : "message"
  if (ready === undefined) return { _tag: "NoMatchingReady", terminate: Cause.noMatchingReady }
  return { _tag: "Settled", revision, crc, ready, ird: asked.ird, ord, privateData }
}

/** The signal to use: a Write asks least of the other side, a Read needs room for a request. */
const pick = (offered: Enhanced, reads: number): Exclude<Ready, "message"> | undefined => {
  if (offered.readyByWrite) return "write"
  if (offered.readyByRead && reads > 0) return "read"
  return offered.readyBySend ? "send" : undefined
}

const signal = (ready: Ready): Omit<Enhanced, "peerToPeer" | "ird" | "ord"> => ({
  readyBySend: ready === "send",
  readyByWrite: ready === "write",
  readyByRead: ready === "read"
})

const both = (asked: Enhanced, answer: Enhanced): Enhanced => ({
  ...asked,
  readyBySend: asked.readyBySend && answer.readyBySend,
  readyByWrite: asked.readyByWrite && answer.readyByWrite,
  readyByRead: asked.readyByRead && answer.readyByRead
})
