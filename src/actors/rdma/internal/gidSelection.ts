/**
 * Selects the GID by which a NIC is reached, unless the program names one. Pure.
 *
 * A port has several: one for each address of its interface, and for each kind of RDMA. Only the
 * device knows which of them works towards a peer, and reports it when a GID is used. So the
 * likeliest comes first, in Mooncake's order.
 */
import type { GidEntry } from "../../../native/verbs/Device.ts"
import * as Gid from "../../../schema/Gid.ts"
import type { Mtu } from "../../../schema/Mtu.ts"

/** The address of a port. */
export interface Place {
  readonly gid: Gid.Gid
  readonly gidIndex: number
  readonly lid: number
  readonly mtu: Mtu
}

/** Interfaces that exist within a host only, or reach others through tunnels. */
const overlay = /flannel|cni|calico|vxlan|docker|tunl0/

/** 10/8, 172.16/12 and 100.64/10: on many hosts, and not always the same network. */
const isPrivate = (gid: Gid.Gid): boolean => {
  const bytes = Gid.toAddress(gid).split(".").map(Number)
  const [first = 0, second = 0] = bytes
  if (bytes.length !== 4) return false
  return (
    first === 10 || (first === 172 && second >> 4 === 1) || (first === 100 && second >> 6 === 1)
  )
}

/** fe80::/10, which is valid on its link only. */
const isOfLink = (gid: Gid.Gid): boolean => {
  const [first = 0, second = 0] = Gid.toBytes(gid)
  return first === 0xfe && second >> 6 === 0b10
}

/** The rank of a GID: the smaller, the likelier it works. */
const rankOf = ({ gid, interface: name, type }: GidEntry): number => {
  // These are addresses of ordinary TCP, in the operating system's order.
  if (type === "iwarp") return 0
  if (isOfLink(gid) || overlay.test(name ?? "")) return name === undefined ? 5 : 3
  if (isPrivate(gid)) return name === undefined ? 4 : 2
  return name === undefined ? 1 : 0
}

/** Whether it can be used. RoCE v1 does not leave its network, and no peer of today uses it. */
const isOfUse = ({ gid, type }: GidEntry): boolean => type !== "roce-1" && gid !== Gid.nowhere

/** The usable GIDs, the likeliest first. */
export const inOrder = (gids: ReadonlyArray<GidEntry>): ReadonlyArray<GidEntry> =>
  gids.filter(isOfUse).toSorted((a, b) => rankOf(a) - rankOf(b) || a.index - b.index)
