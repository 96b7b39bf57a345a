/** The devices of this machine, and how one of them is opened. */
import * as Gid from "../../schema/Gid.ts"
import type { DeviceInfo, DeviceLimits } from "../verbs/Device.ts"
import { Block, getAddress } from "./block.ts"
import { offsets, sizes } from "./layout.ts"
import { type Libraries, NativeFailure, type Pointer } from "./library.ts"
import { type PortAttributes, type PortGid, queryGids, queryPort } from "./ports.ts"

const at = offsets.ibv_device_attr

/**
 * Places of a completion queue beyond its capacity: markers behind silent sends take one each, for
 * as long as their queue pair is being flushed.
 */
export const markerPlaces = 64
/** Limits that no attribute tells, and common devices have at least. */
const inlineBytes = 128
/** Some devices say 2^64 - 1. */
const regionBytesMax = 2 ** 40

/** A device that was found, as it was then. */
export interface FoundDevice extends DeviceInfo {
  readonly gids: ReadonlyArray<PortGid>
  readonly addresses: ReadonlyArray<string>
}

const limitsOf = (view: DataView, messageBytes: number): DeviceLimits => ({
  queuePairs: view.getInt32(at.max_qp, true),
  // One place more is for a marker.
  depth: view.getInt32(at.max_qp_wr, true) - 1,
  scatterEntries: view.getInt32(at.max_sge, true),
  inlineBytes,
  completionQueues: view.getInt32(at.max_cq, true),
  completions: view.getInt32(at.max_cqe, true) - markerPlaces,
  // A region that peers may reach is two for the device, and a third is made while its key changes.
  regions: Math.floor(view.getInt32(at.max_mr, true) / 3),
  regionBytes: Math.min(getAddress(view, at.max_mr_size), regionBytesMax),
  messageBytes,
  reads: Math.min(
    view.getInt32(at.max_qp_rd_atom, true),
    view.getInt32(at.max_qp_init_rd_atom, true),
    0xff
  )
})

/** The addresses that GIDs on Ethernet stand for. */
export const addressesOf = (gids: ReadonlyArray<PortGid>): ReadonlyArray<string> => [
  ...new Set(gids.filter(({ type }) => type !== "infiniband").map(({ gid }) => Gid.toAddress(gid)))
]

/** Describes an open device. */
const describeDevice = async (
  libraries: Libraries,
  context: Pointer,
  name: string
): Promise<FoundDevice> => {
  const block = new Block(libraries, sizes.ibv_device_attr)
  await libraries.later("ibv_query_device", context, block)
  const ports = Array.from({ length: block.view.getUint8(at.phys_port_cnt) }, (_, k) => k + 1)
  const attributes: Array<PortAttributes> = []
  for (const port of ports) attributes.push(await queryPort(libraries, context, port))
  const messageBytes = Math.min(...attributes.map((port) => port.messageBytes))
  const gids = await queryGids(libraries, context)
  const limits = limitsOf(block.view, messageBytes)
  return { name, ports, limits, gids, addresses: addressesOf(gids) }
}

/** Calls with each device, which is only valid meanwhile. Without a driver there is none. */
const withDevices = async <A>(
  libraries: Libraries,
  use: (device: Pointer, name: string) => Promise<A>
): Promise<ReadonlyArray<A>> => {
  const count = new Block(libraries, 8)
  const list = await libraries.later("ibv_get_device_list", count)
  try {
    const used: Array<A> = []
    for (let index = 0; ; index++) {
      const device = libraries.pointerAt(list + 8 * index)
      if (device === 0) return used
      used.push(await use(device, libraries.textAt(device + offsets.ibv_device.name)))
    }
  } finally {
    libraries.now("ibv_free_device_list", list)
  }
}

/** Opens a device. */
const openAt = async (libraries: Libraries, device: Pointer): Promise<Pointer> => {
  const context = await libraries.later("ibv_open_device", device)
  if (libraries.pointerAt(context + offsets.ibv_context.device) === device) return context
  await libraries.later("ibv_close_device", context)
  throw new NativeFailure("ibv_open_device: a struct of another layout", 0)
}

/** The devices of this machine. */
export const listDevices = (libraries: Libraries): Promise<ReadonlyArray<FoundDevice>> =>
  withDevices(libraries, async (device, name) => {
    const context = await openAt(libraries, device)
    try {
      return await describeDevice(libraries, context, name)
    } finally {
      await libraries.later("ibv_close_device", context)
    }
  })

/** Opens a device by its name. */
export const openDevice = async (libraries: Libraries, wanted: string): Promise<Pointer> => {
  const opened = await withDevices(libraries, async (device, name) =>
    name === wanted ? openAt(libraries, device) : undefined
  )
  const context = opened.find((found) => found !== undefined)
  if (context !== undefined) return context
  throw new NativeFailure(`ibv_open_device: ${wanted} has gone`, 0)
}
