/**
 * Global identifiers of RDMA ports: 16 bytes, here as 32 lower-case hex digits.
 *
 * On Ethernet a GID is made of an IP address, an IPv4 address within `::ffff:0:0/96`.
 */
import * as Schema from "effect/Schema"

export const Gid = Schema.String.pipe(
  Schema.check(Schema.isPattern(/^[0-9a-f]{32}$/)),
  Schema.brand("handfast/Gid")
)

export type Gid = typeof Gid.Type

/** The GID without an address, all zeros. */
export const nowhere = "0".repeat(32) as Gid

const mappedPrefix = "00000000000000000000ffff"

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0")

export const fromBytes = (bytes: Uint8Array): Gid =>
  Array.from(bytes.subarray(0, 16), (byte) => hex(byte, 2))
    .join("")
    .padEnd(32, "0") as Gid

export const toBytes = (gid: Gid): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: 16 }, (_, index) =>
    Number.parseInt(gid.slice(2 * index, 2 * index + 2), 16)
  )

const ipv4 = (text: string): string | undefined => {
  const bytes = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number)
  return bytes?.every((byte) => byte < 256) === true
    ? bytes.map((byte) => hex(byte, 2)).join("")
    : undefined
}

/** The groups of one side of `::`; undefined if one of them is invalid. */
const groups = (text: string): ReadonlyArray<string> | undefined => {
  if (text === "") return []
  const parts = text.split(":")
  const last = ipv4(parts.at(-1)!)
  if (last !== undefined) parts.splice(-1, 1, last.slice(0, 4), last.slice(4))
  return parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))
    ? parts.map((part) => part.toLowerCase().padStart(4, "0"))
    : undefined
}

const ipv6 = (text: string): string | undefined => {
  const sides = text.split("::")
  const [head, tail] = [groups(sides[0]!), groups(sides[1] ?? "")]
  if (head === undefined || tail === undefined || sides.length > 2) return undefined
  const missing = 8 - head.length - tail.length
  if (sides.length === 1 ? missing !== 0 : missing < 1) return undefined
  return [...head, ...Array.from({ length: missing }, () => "0000"), ...tail].join("")
}

/** The GID of an IPv4 or IPv6 address; undefined if the text is no address. */
export const fromAddress = (address: string): Gid | undefined => {
  const short = ipv4(address)
  return (short === undefined ? ipv6(address) : mappedPrefix + short) as Gid | undefined
}

/** Writes the longest run of zero groups as `::`, the first one of equal runs. */
const shorten = (text: string): string => {
  const [longest] = [...text.matchAll(/\b0(?::0)+\b/g)].toSorted(
    ([one], [other]) => other.length - one.length
  )
  if (longest === undefined) return text
  const [zeros] = longest
  const head = text.slice(0, longest.index).replace(/:$/, "")
  const tail = text.slice(longest.index + zeros.length).replace(/^:/, "")
  return `${head}::${tail}`
}

/** The IP address of a GID, as RFC 5952 writes it: dotted for a mapped IPv4 address. */
export const toAddress = (gid: Gid): string =>
  gid.startsWith(mappedPrefix)
    ? toBytes(gid).subarray(12).join(".")
    : shorten((gid.match(/.{4}/g) ?? []).map((group) => group.replace(/^0{1,3}/, "")).join(":"))
