/**
 * Between what a directory describes and the segments of the Mooncake dialect.
 *
 * @since 0.1.0
 */
import type { Gid } from "../../schema/Gid.ts"
import type { SegmentDescriptor } from "../../schema/mooncake/SegmentDescriptor.ts"
import type { Description } from "./Directory.ts"

const nowhere = "0".repeat(32) as Gid

/**
 * What a peer's segment says. Buffers at addresses that a number cannot hold are left out, as if
 * they were not for others.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toDescription = (segment: SegmentDescriptor): Description => {
  const server = segment.rdmaServerName ?? segment.name
  return {
    nics: segment.devices.map(({ gid, lid, name }) => ({ path: `${server}@${name}`, gid, lid })),
    buffers: segment.buffers
      .filter(({ addr, length }) => addr + length <= BigInt(Number.MAX_SAFE_INTEGER))
      .map(({ addr, length, name, rkey }) => ({
        name,
        address: Number(addr),
        length: Number(length),
        keys: rkey
      }))
  }
}

const cardOf = (path: string): string => path.slice(path.indexOf("@") + 1)

/**
 * A segment that says what a description does. All cards are equally near to the memory.
 * Local keys are nobody else's business; peers only look at how many there are.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromDescription = (
  name: string,
  { buffers, nics }: Description
): SegmentDescriptor => {
  const told = buffers.filter(({ keys }) => keys.length > 0)
  const cards = nics.map(({ path }) => cardOf(path))
  return {
    name,
    protocol: "rdma",
    tcpDataPort: 0,
    tcpProtoVersion: 1,
    devices: nics.map(({ gid = nowhere, lid = 0, path }) => ({ gid, lid, name: cardOf(path) })),
    buffers: told.map((buffer) => ({
      name: buffer.name,
      addr: BigInt(buffer.address),
      length: BigInt(buffer.length),
      lkey: buffer.keys.map(() => 0),
      rkey: buffer.keys
    })),
    priorityMatrix: Object.fromEntries(told.map((buffer) => [buffer.name, [cards, []]]))
  }
}
