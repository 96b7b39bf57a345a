/** Addresses as users write them. */
import { isIP } from "node:net"
import { canonicalHost } from "../../../schema/Address.ts"
import type { Address } from "./link.ts"

const shape = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i

/** Reads `host:port` or `[address]:port`; undefined if it is neither. */
export const parseAddress = (text: string): Address | undefined => {
  const [, six, host, digits] = shape.exec(text) ?? []
  const ip = six ?? host
  const busPort = Number(digits)
  return ip !== undefined && busPort > 0 && busPort <= 65_535 ? { ip, busPort } : undefined
}

/** Whether an address leads to this machine only. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^(::ffff:)?127\./.test(host)

/**
 * One text for each IP address: an IPv6 address has many, and holds IPv4 ones. Undefined if it is
 * none: what a peer says is never looked up as a name.
 */
export const canonicalIp = (text: string): string | undefined => {
  if (isIP(text) === 0) return undefined
  // Without its scope an address of this machine's links cannot be dialled.
  return text.includes("%") ? text : canonicalHost(text)
}
