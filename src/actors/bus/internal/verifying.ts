/**
 * A new address of a known node is believed only when this node has dialled it and got an answer
 * with that id: a single PING with a known id would otherwise move a peer to wherever it came from.
 */
import { type Address, addressText } from "./link.ts"
import type { Member, PeerLink } from "./member.ts"
import type { Table } from "./table.ts"

/** Dials an address that a node is said to have; one such dial per node is under way. */
export const verify = (table: Table, member: Member, address: Address): void => {
  if (member.verification !== undefined || table.isRemoved) return
  if (table.outside.now() < member.verifyAt) return
  if (addressText(address) === addressText(member.address)) return
  member.verification = table.dial({ _tag: "Known", id: member.id }, address)
}

/** The node answered on this outbound link: that is where it lives. */
export const settle = (table: Table, member: Member, link: PeerLink): void => {
  const hasMoved = addressText(link.remote) !== addressText(member.address)
  const isNew = !member.isProven
  const { outbound } = member
  member.address = link.remote
  if (member.verification === link) member.verification = undefined
  member.outbound = link
  member.foundInstead = undefined
  if (outbound !== undefined && outbound !== link) table.end(outbound, "Replaced")
  table.backoff(member.address).proven()
  if (hasMoved || isNew) table.outside.keep(member.id, member.address)
}
