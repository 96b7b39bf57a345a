/**
 * How Mooncake names a NIC of a process: `server@nic`.
 *
 * Peers compare these names as text, so the server is kept as it was written.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Gid from "../Gid.ts"
import { BadNicPath } from "./Fault.ts"

export const NicPath = Schema.Struct({
  server: Schema.String.check(Schema.isPattern(/^[^@]+$/)),
  nic: Schema.NonEmptyString
})

export type NicPath = typeof NicPath.Type

/** Where the handshake port of a server is. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** Where Mooncake listens if the name of a server has no port. */
export const defaultPort = 12001

const bad = (text: string) => Result.fail(new BadNicPath({ text: text.slice(0, 256) }))

/** The first `@` ends the server; the name of the NIC may hold more of them. */
export const parse = (text: string): Result.Result<NicPath, BadNicPath> => {
  const at = text.indexOf("@")
  if (at < 1 || at === text.length - 1) return bad(text)
  return Result.succeed({ server: text.slice(0, at), nic: text.slice(at + 1) })
}

export const print = ({ nic, server }: NicPath): string => `${server}@${nic}`

/** Two paths name one NIC if their texts are equal. */
export const equals = (one: NicPath, other: NicPath): boolean =>
  one.server === other.server && one.nic === other.nic

/** An address of version 6, whose scope, if it has one, is the business of this machine alone. */
const isIpv6 = (host: string): boolean =>
  host.includes(":") && Gid.fromAddress(host.replace(/%.+$/, "")) !== undefined

/** The path of a NIC at an address. */
export const make = (nic: string, { host, port }: Address): NicPath => ({
  server: `${isIpv6(host) ? `[${host}]` : host}:${port}`,
  nic
})

/**
 * Where the server of a path listens. It is asked for only by who wants to dial: to a peer that
 * dials us its name is a name, and need not be an address.
 */
export const address = ({ server }: NicPath): Result.Result<Address, BadNicPath> => {
  const [whole, bracketed, plain, digits] =
    /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(server) ?? []
  if (whole === undefined && isIpv6(server)) {
    return Result.succeed({ host: server, port: defaultPort })
  }
  const host = plain ?? bracketed
  const port = digits === undefined ? defaultPort : Number(digits)
  if (host === undefined || port < 1 || port > 65_535) return bad(server)
  return plain !== undefined || isIpv6(host) ? Result.succeed({ host, port }) : bad(server)
}
