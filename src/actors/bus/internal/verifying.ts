/**
 * The address of a known node. Anything may speak under its id, so an address is believed only when
 * this node has dialled it and got an answer with that id, and no other address is believed while
 * the known one answers. An address that answered first is taken again when it answers again: what
 * took a node's place while it was down does not keep it.
 */
import { type Address, type Claim, isSameAddress } from "./link.ts"
import type { Member, PeerLink } from "./member.ts"
import type { Table } from "./table.ts"

/** Dials an address that a node is said to have, at its pace, unless that is under way. */
export const verify = (table: Table, member: Member, address: Address): PeerLink | undefined => {
  if (table.isRemoved || isSameAddress(address, member.address)) return undefined
  for (const link of table.links) {
    const { purpose, remote } = link
    const isIts = purpose._tag === "Known" && purpose.id === member.id
    if (isIts && isSameAddress(remote, address)) return undefined
  }
  if (table.outside.now() < table.pace(address).dialAt) return undefined
  return table.dial({ _tag: "Known", id: member.id }, address)
}

/** The node is reached at its known address, and nothing speaks for the one before it. */
const isReached = ({ address, home, outbound }: Member, claimed: Address): boolean =>
  outbound?.isProven === true && (isSameAddress(address, home) || !isSameAddress(claimed, home))

/** Its connection to this node is in use: nodes send a PING in half a timeout. */
export const hasInbound = (table: Table, { inbound }: Member): boolean => {
  if (inbound === undefined) return false
  const heardAt = Math.max(inbound.heardAt, inbound.provenAt, table.awakeSince)
  return table.outside.now() - heardAt <= table.settings.nodeTimeoutMs
}

/**
 * A connection claims to be of a node that lives elsewhere. It waits until this node's own dial is
 * answered there, and for nothing if the known address still answers.
 */
export const claim = (table: Table, link: PeerLink, member: Member, address: Address): void => {
  if (link.claim === undefined) {
    const madeAt = table.outside.now()
    link.claim = { member, address, madeAt, dial: undefined }
    // The known address has to answer now.
    member.nextPingAt = Math.min(member.nextPingAt, madeAt)
  }
  pursue(table, link, link.claim)
}

/** Dials the address of a claim, unless the known one has answered since it was made. */
export const pursue = (table: Table, link: PeerLink, claim: Claim<Member>): void => {
  const { address, dial, madeAt, member } = claim
  if (dial !== undefined && table.links.has(dial)) return
  if (!isReached(member, address) || !hasInbound(table, member)) {
    claim.dial = verify(table, member, address)
  } else if (member.lastPongAt > madeAt) table.end(link, "SecondAddress")
}

/** Binds a link to the node that it has shown to be of; an older one of that node is ended. */
export const bindInbound = (table: Table, link: PeerLink, member: Member): void => {
  const { inbound } = member
  link.claim = undefined
  link.peer = member
  link.provenAt = table.outside.now()
  member.inbound = link
  if (inbound !== undefined && inbound !== link) table.end(inbound, "Replaced")
  table.outside.changed()
}

/** Connections that wait for this address of the node are its own. */
const bindClaims = (table: Table, member: Member, address: Address): void => {
  for (const link of table.links) {
    if (link.claim?.member !== member || !isSameAddress(link.claim.address, address)) continue
    bindInbound(table, link, member)
    table.isKnownTo(member)
  }
}

/** The node answered at a second address while the known one works: it has both, or is two. */
const keepKnown = (table: Table, member: Member, link: PeerLink): void => {
  table.pace(link.dialled).proven()
  table.end(link, "SecondAddress")
  const isSaid = member.secondAddress !== undefined
  member.secondAddress = link.remote
  if (!hasInbound(table, member)) return bindClaims(table, member, link.remote)
  if (isSaid) return
  table.outside.warn("a known node answers at a second address", {
    id: member.id,
    known: member.address,
    second: link.remote
  })
}

/** The node answered on this outbound link. Returns whether that is where it lives. */
export const settle = (table: Table, member: Member, link: PeerLink): boolean => {
  const hasMoved = !isSameAddress(link.remote, member.address)
  const { outbound } = member
  // A user who names an address knows better.
  if (hasMoved && link.purpose._tag !== "Meet" && isReached(member, link.remote)) {
    keepKnown(table, member, link)
    return false
  }
  const isNew = !member.isProven
  member.address = link.remote
  if (isNew) member.home = link.remote
  member.outbound = link
  if (hasMoved) member.secondAddress = undefined
  member.foundInstead = undefined
  if (outbound !== undefined && outbound !== link) table.end(outbound, "Replaced")
  table.pace(link.dialled).proven()
  if (hasMoved || isNew) table.outside.keep(member.id, member.address)
  bindClaims(table, member, member.address)
  return true
}
