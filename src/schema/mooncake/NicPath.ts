/**
 * The name of a NIC of a process in Mooncake: `server@nic`.
 *
 * Peers compare these names as text, so the server is kept as it was written.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Address, parse as parseAddress, print as printAddress } from "../Address.ts"
import { BadNicPath } from "./Fault.ts"

export const NicPath = Schema.Struct({
  server: Schema.String.check(Schema.isPattern(/^[^@]+$/)),
  nic: Schema.NonEmptyString
})

export type NicPath = typeof NicPath.Type

/** The port of a server whose name has none. */
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

/** The path of a NIC at an address. */
export const make = (nic: string, address: Address): NicPath => ({
  server: printAddress(address),
  nic
})

/**
 * The address of a path's server. Only a caller that wants to connect needs it: the name of a peer
 * that connects to this side need not be an address.
 */
export const address = ({ server }: NicPath): Result.Result<Address, BadNicPath> => {
  const found = parseAddress(server, defaultPort)
  return found === undefined ? bad(server) : Result.succeed(found)
}
