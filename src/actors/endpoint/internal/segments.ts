/**
 * What an engine says of itself, as a segment descriptor of the Mooncake dialect, and back. Pure.
 *
 * A buffer's name is a place of memory there, and the priority matrix says which cards to use for
 * it: all, since any may do. Where cards know one memory by different addresses, which Mooncake's
 * do not, that is told in a member that only our own kind reads.
 */
import * as NicPath from "../../../schema/mooncake/NicPath.ts"
import type { SegmentDescriptor } from "../../../schema/mooncake/SegmentDescriptor.ts"
import type { Gid } from "../../../schema/Gid.ts"
import type { Description } from "../Directory.ts"

const noGid = "0".repeat(32) as Gid

/** The name of a card in its path. */
const cardOf = (path: string): string => path.slice(path.indexOf("@") + 1)

export const segmentOf = (server: string, { buffers, nics }: Description): SegmentDescriptor => {
  const cards = nics.map(({ path }) => cardOf(path))
  return {
    name: server,
    protocol: "rdma",
    tcpDataPort: 0,
    devices: nics.map(({ gid = noGid, lid = 0, path }) => ({ gid, lid, name: cardOf(path) })),
    buffers: buffers.map(({ address, addresses = [], keys, length, name }) => ({
      name,
      addr: BigInt(address),
      length: BigInt(length),
      // Nobody but the own card may know these.
      lkey: keys.map(() => 0),
      rkey: keys,
      ...(addresses.some((own) => own !== address) && {
        handfast: { addresses: addresses.map(BigInt) }
      })
    })),
    priorityMatrix: Object.fromEntries(buffers.map(({ name }) => [name, [cards, []] as const]))
  }
}

/** The description that a descriptor tells; whoever uses it checks it. */
export const descriptionOf = ({
  buffers,
  devices,
  name,
  rdmaServerName: server = name
}: SegmentDescriptor) => ({
  nics: devices.map(({ gid, lid, name: nic }) => ({
    path: NicPath.print({ server, nic }),
    gid,
    lid
  })),
  buffers: buffers.map(({ addr, handfast, length, name, rkey }) => ({
    name,
    address: Number(addr),
    length: Number(length),
    keys: rkey,
    ...(handfast !== undefined && { addresses: handfast.addresses.map(Number) })
  }))
})
