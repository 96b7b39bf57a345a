/**
 * Which of a port's GIDs a card is reached by, when nobody has said so. Pure.
 *
 * A port has several: one for each address of its interface, and for each kind of RDMA. Which of
 * them works towards a peer only the device knows, and it says so when it is used. So the
 * likeliest comes first, in Mooncake's order.
 */
import type { GidEntry } from "../../../native/verbs/Device.ts"
import * as Gid from "../../../schema/Gid.ts"

/** Interfaces that exist within a host only, or reach others through tunnels. */
const overlay = /flannel|cni|calico|vxlan|docker|tunl0/

/** 10/8, 172.16/12 and 100.64/10: there on many hosts, and not always the same network. */
const isPrivate = (gid: Gid.Gid): boolean => {
  const octets = Gid.toAddress(gid).split(".").map(Number)
  const [first = 0, second = 0] = octets
  if (octets.length !== 4) return false
  return (
    first === 10 || (first === 172 && second >> 4 === 1) || (first === 100 && second >> 6 === 1)
  )
}

/** fe80::/10, which means nothing beyond its link. */
const isOfLink = (gid: Gid.Gid): boolean => {
  const [first = 0, second = 0] = Gid.toBytes(gid)
  return first === 0xfe && second >> 6 === 0b10
}

/** The smaller, the likelier it works. */
const rankOf = ({ gid, interface: name, type }: GidEntry): number => {
  // These are addresses of ordinary TCP, and the operating system has ordered them.
  if (type === "iwarp") return 0
  if (isOfLink(gid) || overlay.test(name ?? "")) return name === undefined ? 5 : 3
  if (isPrivate(gid)) return name === undefined ? 4 : 2
  return name === undefined ? 1 : 0
}

/** The first kind of RoCE does not leave its network, and no peer of today speaks it. */
const isOfUse = ({ gid, type }: GidEntry): boolean => type !== "roce-1" && gid !== Gid.nowhere

/** The GIDs that can be used, the likeliest first. */
export const inOrder = (gids: ReadonlyArray<GidEntry>): ReadonlyArray<GidEntry> =>
  gids.filter(isOfUse).toSorted((a, b) => rankOf(a) - rankOf(b) || a.index - b.index)
