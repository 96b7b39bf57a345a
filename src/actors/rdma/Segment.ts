/**
 * Converts descriptions to and from segments of the Mooncake dialect.
 *
 * Data without a field in that dialect is in one member that Mooncake ignores: the version of the
 * description, the registration of each buffer as a count in the same process instance, and what
 * peers may do with it.
 */

import { countOf, instanceOf, isEpoch } from "../../schema/Epoch.ts"
import * as Gid from "../../schema/Gid.ts"
import type { SegmentDescriptor } from "../../schema/mooncake/SegmentDescriptor.ts"
import { defaultLimit } from "../../schema/mooncake/frameLimits.ts"
import { type Description, type PeerBuffer, PeerRight } from "./Directory.ts"

type Places = NonNullable<SegmentDescriptor["priorityMatrix"]>

/**
 * The distance of each NIC from a location: preferred, available, or not named, as are NICs that
 * the peer has taken out of use. Undefined if there is no difference.
 */
const distancesTo = (place: string, nicNames: ReadonlyArray<string>, places: Places) => {
  if (!Object.hasOwn(places, place)) return undefined
  const [preferred, available] = places[place]!.map((names) => new Set(names))
  const distances = nicNames.map((nicName) => {
    if (preferred!.has(nicName)) return 0
    return available!.has(nicName) ? 1 : 2
  })
  return new Set(distances).size > 1 ? distances : undefined
}

/** The rights of peers; a buffer's are the sum of the powers of 2 at their places. */
const { literals: rights } = PeerRight

const toNumber = (access: ReadonlyArray<PeerRight>): number =>
  rights.reduce((sum, right, place) => sum + (access.includes(right) ? 2 ** place : 0), 0)

/** Reads the rights of a buffer; undefined if the peer does not tell them. */
const toAccess = (number: unknown): ReadonlyArray<PeerRight> | undefined => {
  if (typeof number !== "number" || !Number.isInteger(number)) return undefined
  if (number < 0 || number >= 2 ** rights.length) return undefined
  return rights.filter((_, place) => (number & (2 ** place)) !== 0)
}

const nothing = {
  epoch: undefined,
  registrations: [] as ReadonlyArray<unknown>,
  access: [] as ReadonlyArray<unknown>
}

/** Reads the added member; undefined if it is invalid. */
const versionOf = ({ buffers, handfast }: SegmentDescriptor) => {
  if (typeof handfast !== "object" || handfast === null) return nothing
  const { access, epoch, registrations } = handfast as { readonly [key: string]: unknown }
  const isWhole = (list: unknown): list is ReadonlyArray<unknown> =>
    Array.isArray(list) && list.length === buffers.length
  if (!isEpoch(epoch) || !isWhole(registrations)) return nothing
  // Earlier versions of this library do not tell rights.
  return { epoch, registrations, access: isWhole(access) ? access : [] }
}

/**
 * Converts a peer's segment. Buffers at addresses beyond the safe integers are left out, as if they
 * were not shared.
 */
export const toDescription = (segment: SegmentDescriptor): Description => {
  const server = serverOf(segment)
  const nicNames = segment.devices.map(({ name }) => name)
  const known = new Map<string, ReturnType<typeof distancesTo>>()
  // Buffers have the name of their location.
  const distancesOf = (place: string) => {
    const places = segment.priorityMatrix ?? {}
    if (!known.has(place)) known.set(place, distancesTo(place, nicNames, places))
    return known.get(place)
  }
  const { access: allowed, epoch, registrations } = versionOf(segment)
  const registered = segment.buffers.map((buffer, index) => {
    const registration = `${epoch && instanceOf(epoch)}.${registrations[index]}`
    const access = toAccess(allowed[index])
    return { buffer, access, epoch: isEpoch(registration) ? registration : undefined }
  })
  return {
    nics: segment.devices.map(({ gid, lid, name }) => ({ path: `${server}@${name}`, gid, lid })),
    buffers: registered
      .filter(({ buffer: { addr, length } }) => addr + length <= BigInt(Number.MAX_SAFE_INTEGER))
      .map(({ access, buffer: { addr, length, name, rkey: keys }, epoch }) => {
        const buffer = { name, address: Number(addr), length: Number(length), keys }
        const distances = keys.length === 0 ? undefined : distancesOf(name)
        const [near, right] = [distances && { distances }, access && { access }]
        return Object.assign(buffer, near, right, epoch && { epoch })
      }),
    ...(epoch !== undefined && { epoch })
  }
}

/**
 * The server that a peer names its NICs by. It listens there, unless it has another address for
 * RDMA.
 */
export const serverOf = ({ name, rdmaServerName }: SegmentDescriptor): string =>
  rdmaServerName ?? name

/** Bytes of a description without its buffers, with room for long names. */
const frameBytes = 16_384

/** The most bytes that a buffer adds to the text of a segment. */
export const bytesOf = ({ keys, name }: PeerBuffer, paths: ReadonlyArray<string>): number => {
  // Names are escaped, and stand in the list and in the matrix of places.
  const names = 2 * JSON.stringify(name).replaceAll(/[^ -~]/g, "000000").length
  const places = paths.reduce((sum, path) => sum + JSON.stringify(nicNameOf(path)).length + 1, 0)
  return 128 + names + places + keys.length * "4294967295,0,".length
}

/** The bytes that buffers may take of a segment, if peers take frames up to the default length. */
export const buffersLimit = defaultLimit - frameBytes

const nicNameOf = (path: string): string => path.slice(path.indexOf("@") + 1)

/**
 * Converts a description. All NICs are equally near to the memory. Each line names all of them in
 * their order, because peers number them by it. Local keys are not sent; peers only look at how
 * many there are.
 */
export const fromDescription = (
  name: string,
  { buffers, epoch: version, nics }: Description
): SegmentDescriptor => {
  const told = buffers.filter(({ keys }) => keys.length > 0)
  const nicNames = nics.map(({ path }) => nicNameOf(path))
  return {
    name,
    protocol: "rdma",
    tcpDataPort: 0,
    tcpProtoVersion: 1,
    devices: nics.map(({ gid = Gid.nowhere, lid = 0, path }) => ({
      gid,
      lid,
      name: nicNameOf(path)
    })),
    buffers: told.map((buffer) => ({
      name: buffer.name,
      addr: BigInt(buffer.address),
      length: BigInt(buffer.length),
      lkey: buffer.keys.map(() => 0),
      rkey: buffer.keys
    })),
    ...(version !== undefined && {
      // -1 is no count: such a buffer does not name its registration.
      handfast: {
        epoch: version,
        registrations: told.map(({ epoch }) => (epoch === undefined ? -1 : countOf(epoch))),
        access: told.map(({ access }) => (access === undefined ? -1 : toNumber(access)))
      }
    }),
    priorityMatrix: Object.fromEntries(told.map((buffer) => [buffer.name, [nicNames, []]]))
  }
}
