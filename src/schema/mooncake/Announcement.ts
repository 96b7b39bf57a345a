/**
 * What this library adds to a handshake, as one member that Mooncake ignores: who is speaking, in
 * which generation, to which generation of the other side, and what its path can carry.
 *
 * An epoch begins with the instance of its process, so a peer that restarted is told from one that
 * reconnected, also if it got the same queue pair numbers again. An acknowledgement that names both
 * epochs opens no gate but the one it was meant for. Without the member, the peer is Mooncake.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Epoch } from "../Epoch.ts"
import { isObject, type Json, member } from "./internal/json.ts"

/**
 * The path MTUs that queue pairs know, in octets.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Mtu = Schema.Literals([256, 512, 1024, 2048, 4096])

/**
 * `peer` is the epoch of the other side, as far as it is known.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Announcement = Schema.Struct({
  epoch: Epoch,
  peer: Schema.optionalKey(Epoch),
  mtu: Mtu
})

/**
 * @category models
 * @since 0.1.0
 */
export type Announcement = typeof Announcement.Type

/**
 * The name of the member.
 *
 * @category constants
 * @since 0.1.0
 */
export const key = "handfast"

const isEpoch = Schema.is(Epoch)
const isMtu = Schema.is(Mtu)

/**
 * Whoever wrote something else under our name is not one of us: what cannot be read is not there.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromJson = (value: Json | undefined): Announcement | undefined => {
  if (!isObject(value)) return undefined
  const [epoch, peer, mtu] = ["epoch", "peer", "mtu"].map((name) => member(value, name))
  if (!isEpoch(epoch) || !isMtu(mtu)) return undefined
  if (peer === undefined) return { epoch, mtu }
  return isEpoch(peer) ? { epoch, peer, mtu } : undefined
}
