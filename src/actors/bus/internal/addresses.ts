/** Addresses as users write them. */
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

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** One text for each address: an IPv6 address has many, and holds IPv4 ones. */
export const canonicalIp = (ip: string): string => {
  if (!ip.includes(":")) return ip
  const four = mapped.exec(ip)?.[1]
  if (four !== undefined) return four
  const url = URL.parse(`http://[${ip}]`)
  return url === null ? ip : url.hostname.slice(1, -1)
}
