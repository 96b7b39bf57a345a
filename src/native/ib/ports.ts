/** Ports of a device: their state, and the table of their GIDs. */
import * as Gid from "../../schema/Gid.ts"
import { mtus } from "../../schema/Mtu.ts"
import type { GidEntry, PortInfo } from "../verbs/Device.ts"
import { Block } from "./block.ts"
import { constants, offsets, sizes } from "./layout.ts"
import type { Libraries, Pointer } from "./library.ts"

const entry = offsets.ibv_gid_entry
const port = offsets.ibv_port_attr

/** A GID, with the port and the network interface that it belongs to. */
export interface PortGid extends GidEntry {
  readonly port: number
  /** The index of the interface; 0 if there is none. */
  readonly interfaceIndex: number
}

/** A port without its GIDs. */
export interface PortAttributes extends Pick<PortInfo, "state" | "activeMtu" | "lid"> {
  readonly messageBytes: number
  readonly isEthernet: boolean
}

/** Asks for a port. */
export const queryPort = async (
  libraries: Libraries,
  context: Pointer,
  number: number
): Promise<PortAttributes> => {
  const { view, ...block } = new Block(libraries, sizes.ibv_port_attr)
  await libraries.later("ibv_query_port", context, number, block)
  return {
    state: view.getInt32(port.state, true) === constants.IBV_PORT_ACTIVE ? "active" : "down",
    activeMtu: mtus[view.getInt32(port.active_mtu, true) - 1] ?? 256,
    lid: view.getUint16(port.lid, true),
    messageBytes: view.getUint32(port.max_msg_sz, true),
    isEthernet: view.getUint8(port.link_layer) === constants.IBV_LINK_LAYER_ETHERNET
  }
}

/** Entries that are asked for at once: what the kernel takes, whose length field has 16 bits. */
const tableMax = Math.floor(0xffff / sizes.ibv_gid_entry)
/** `IF_NAMESIZE` */
const nameMax = 16

const typeOf = (type: number, isIwarp: boolean): GidEntry["type"] => {
  if (type === constants.IBV_GID_TYPE_ROCE_V2) return "roce-2"
  if (type === constants.IBV_GID_TYPE_ROCE_V1) return "roce-1"
  return isIwarp ? "iwarp" : "infiniband"
}

const interfaceName = (libraries: Libraries, index: number): string | undefined => {
  if (index === 0) return undefined
  const block = new Block(libraries, nameMax)
  const found = libraries.now("if_indextoname", index, block.address)
  const name = block.bytes.slice(0, block.bytes.indexOf(0))
  return found === 0 ? undefined : Buffer.from(name).toString()
}

/** Asks for the GIDs of all ports, in the order of ports and indices. */
export const queryGids = async (
  libraries: Libraries,
  context: Pointer
): Promise<ReadonlyArray<PortGid>> => {
  const block = new Block(libraries, tableMax * sizes.ibv_gid_entry)
  const { bytes, view } = block
  const size = sizes.ibv_gid_entry
  const count = await libraries.later("_ibv_query_gid_table", context, block, tableMax, 0, size)
  return Array.from({ length: count }, (_, place): PortGid => {
    const at = place * size
    const interfaceIndex = view.getUint32(at + entry.ndev_ifindex, true)
    return {
      port: view.getUint32(at + entry.port_num, true),
      index: view.getUint32(at + entry.gid_index, true),
      gid: Gid.fromBytes(bytes.slice(at + entry.gid, at + entry.gid + 16)),
      type: typeOf(view.getUint32(at + entry.gid_type, true), false),
      interface: interfaceName(libraries, interfaceIndex),
      interfaceIndex
    }
  })
    .filter(({ gid }) => gid !== Gid.nowhere)
    .toSorted((a, b) => a.port - b.port || a.index - b.index)
}
