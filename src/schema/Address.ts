/** The address of a process in text: `host`, `host:port` or `[address]:port`. */

import * as Gid from "./Gid.ts"

/** A host, by its name or its address, and a port. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** The GID of an address. A scope in it is only valid on this machine. */
const gidOf = (host: string): Gid.Gid | undefined => Gid.fromAddress(host.replace(/%.+$/, ""))

/** Whether it is an IPv6 address. */
const isIpv6 = (host: string): boolean => host.includes(":") && gidOf(host) !== undefined

/** An address in the one text by which hosts are compared, without its scope; a name as it is. */
export const canonicalHost = (host: string): string => {
  const gid = gidOf(host)
  return gid === undefined ? host : Gid.toAddress(gid)
}

/** Writes an address, so that `parse` reads it back. */
export const print = ({ host, port }: Address): string =>
  `${isIpv6(host) ? `[${host}]` : host}:${port}`

/** Parses an address; undefined if the text is none. */
export const parse = (text: string, defaultPort: number): Address | undefined => {
  const [whole, bracketed, plain, digits] =
    /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  if (whole === undefined && isIpv6(text)) return { host: text, port: defaultPort }
  const host = plain ?? bracketed
  const port = digits === undefined ? defaultPort : Number(digits)
  if (host === undefined || port < 1 || port > 65_535) return undefined
  return plain !== undefined || isIpv6(host) ? { host, port } : undefined
}
