/** IP addresses as structs of the C library. */
import * as Gid from "../../schema/Gid.ts"
import type { Address } from "../verbs/Connection.ts"
import { Block } from "./block.ts"
import { constants, offsets, sizes } from "./layout.ts"
import type { Libraries, Pointer } from "./library.ts"

const v4 = offsets.sockaddr_in
const v6 = offsets.sockaddr_in6

export const isIpv4 = (gid: Gid.Gid): boolean => gid.startsWith("00000000000000000000ffff")

/** An address that only means something together with an interface. */
export const isLinkLocal = (gid: Gid.Gid): boolean => /^fe[89ab]/.test(gid)

/** An address that is one; `interfaceIndex` is for addresses that need an interface. */
export const toNative = (
  libraries: Libraries,
  { host, port }: Address,
  interfaceIndex: number
): Block => {
  const gid = Gid.fromAddress(host)!
  const bytes = Gid.toBytes(gid)
  const block = new Block(libraries, sizes.sockaddr_in6)
  block.view.setUint16(v4.sin_port, port)
  if (isIpv4(gid)) {
    block.view.setUint16(v4.sin_family, constants.AF_INET, true)
    block.bytes.set(bytes.subarray(12), v4.sin_addr)
    return block
  }
  block.view.setUint16(v6.sin6_family, constants.AF_INET6, true)
  block.bytes.set(bytes, v6.sin6_addr)
  if (isLinkLocal(gid)) block.view.setUint32(v6.sin6_scope_id, interfaceIndex, true)
  return block
}

/** The address at a pointer. */
export const fromNative = (libraries: Libraries, pointer: Pointer): Address => {
  const bytes = libraries.bytesAt(pointer, sizes.sockaddr_in6)
  const view = new DataView(bytes.buffer)
  const port = view.getUint16(v4.sin_port)
  const host =
    view.getUint16(v4.sin_family, true) === constants.AF_INET
      ? bytes.subarray(v4.sin_addr, v4.sin_addr + 4).join(".")
      : Gid.toAddress(Gid.fromBytes(bytes.subarray(v6.sin6_addr, v6.sin6_addr + 16)))
  return { host, port }
}
