/** Bytes of a nonce: too many to be guessed. */
export const nonceBytes = 16

const digits = new RegExp(`^[0-9a-f]{${2 * nonceBytes}}$`)

/** A nonce in hexadecimal digits. */
export const Nonce = Schema.String.check(Schema.isPattern(digits))

/**
 * Members that this library adds to a handshake, as one member that Mooncake ignores: the sender's
 * epoch, the epoch of the other side, and the limits of the path.
 *
 * An epoch begins with the instance of its process, so a peer that restarted is distinguished from
 * one that reconnected, also if it got the same queue pair numbers again. An acknowledgement that
 * names both epochs opens only the gate that it was meant for. Without the member, the peer is
 * Mooncake. A farewell ends the sender's epoch.
 */
import * as Schema from "effect/Schema"
import { Epoch, isEpoch } from "../Epoch.ts"
import { type Mtu, mtus } from "../Mtu.ts"
import { isObject, type Json, member } from "./internal/json.ts"

/**
 * `peer` is the epoch of the other side, if it is known. `nonce` are random digits: the connection
 * that carries the data is bound to the handshake by the nonces of both sides.
 */
export const Announcement = Schema.Struct({
  epoch: Epoch,
  peer: Schema.optionalKey(Epoch),
  mtu: Schema.Literals(mtus),
  nonce: Schema.optionalKey(Nonce)
})

export type Announcement = typeof Announcement.Type

/** The sender has given up the epoch `epoch`, which was connected to `peer`. */
export const Parting = Schema.Struct({
  epoch: Epoch,
  peer: Epoch,
  farewell: Schema.Literal(true)
})

export type Parting = typeof Parting.Type

/** The name of the member. */
export const key = "handfast"

const isNonce = (value: unknown): value is string => typeof value === "string" && digits.test(value)

const isMtu = (value: unknown): value is Mtu => mtus.includes(value as Mtu)

/** Reads an announcement. An invalid one is ignored: its sender is no peer of this library. */
export const fromJson = (value: Json | undefined): Announcement | Parting | undefined => {
  if (!isObject(value)) return undefined
  const epoch = member(value, "epoch")
  const peer = member(value, "peer")
  const mtu = member(value, "mtu")
  const farewell = member(value, "farewell")
  if (!isEpoch(epoch) || !(peer === undefined || isEpoch(peer))) return undefined
  if (farewell === true) return peer === undefined ? undefined : { epoch, peer, farewell }
  if (!isMtu(mtu)) return undefined
  const nonce = member(value, "nonce")
  return {
    epoch,
    mtu,
    ...(peer !== undefined && { peer }),
    ...(isNonce(nonce) && { nonce })
  }
}

/** Converts an announcement, with its keys in order. */
export const toJson = (announcement: Announcement | Parting): { readonly [key: string]: Json } => {
  const { epoch, peer } = announcement
  if ("farewell" in announcement) return { epoch, farewell: true, peer: announcement.peer }
  const { mtu, nonce } = announcement
  return {
    epoch,
    mtu,
    ...(nonce !== undefined && { nonce }),
    ...(peer !== undefined && { peer })
  }
}
