/**
 * The gate of a link: the first full frame of a known node opens it. Until then the link has no
 * peer, and nothing that comes from it has an effect on the cluster.
 */
import type { FrameView } from "../../../schema/bus/FrameView.ts"
import { Type } from "../../../schema/bus/Layout.ts"
import { canonicalIp } from "./addresses.ts"
import { type Address, isSameAddress } from "./link.ts"
import type { Member, PeerLink } from "./member.ts"
import type { Table } from "./table.ts"
import { bindInbound, claim, hasInbound, settle } from "./verifying.ts"

/** The member that a full frame binds an unbound link to, if it opens the gate. */
export const bind = (table: Table, link: PeerLink, frame: FrameView): Member | undefined => {
  const id = frame.sender
  if (id === table.self.id) {
    noteSameId(table, link, frame)
    // The answer tells the dialling side, which is this node or a copy of it, whom it has reached.
    if (!link.isInbound) table.end(link, "Myself")
    else if (frame.type === Type.meet) link.send(table.outgoing.heartbeat("Pong", [], false))
    return undefined
  }
  return link.isInbound ? takeInbound(table, link, frame, id) : bindOutbound(table, link, id)
}

/** A node that this one reaches under its own port is itself; any other one has a copied id. */
const noteSameId = (table: Table, link: PeerLink, frame: FrameView): void => {
  if (frame.busPort === table.self.busPort || table.sameIdAt !== undefined) return
  table.sameIdAt = `${link.remote.ip}:${frame.busPort}`
  table.outside.warn("another node has this node's id", { at: table.sameIdAt })
}

/** Whether a connection comes from the machine at the known address of a node. */
const isFromThere = ({ remote }: PeerLink, { address }: Member): boolean => remote.ip === address.ip

const takeInbound = (
  table: Table,
  link: PeerLink,
  frame: FrameView,
  id: string
): Member | undefined => {
  const address: Address = { ip: canonicalIp(frame.ip) ?? link.remote.ip, busPort: frame.busPort }
  const before = link.claim
  if (
    before !== undefined &&
    !(before.member.id === id && isSameAddress(before.address, address))
  ) {
    table.end(link, "SenderChanged")
    return undefined
  }
  const member = table.members.get(id)
  if (member === undefined) return stranger(table, link, frame, id, address)
  const { inbound } = member
  // An address is a text of the sender, unless the connection comes from there.
  const isWorse =
    inbound !== undefined &&
    isFromThere(inbound, member) &&
    !isFromThere(link, member) &&
    hasInbound(table, member)
  if (isWorse || !isSameAddress(address, member.address)) {
    claim(table, link, member, address)
    return undefined
  }
  bindInbound(table, link, member)
  return member
}

/**
 * A stranger that asks to be taken in is admitted, or its link is closed without an answer: a
 * single PONG would make this node a member of its cluster.
 */
const stranger = (
  table: Table,
  link: PeerLink,
  frame: FrameView,
  id: string,
  address: Address
): Member | undefined => {
  if (frame.type === Type.ping) return undefined
  if (frame.type !== Type.meet) {
    table.counts.framesDropped++
    return undefined
  }
  const isFull = table.members.size >= table.settings.maxMembers
  if (table.isRemoved || isFull || !table.outside.admit(id, address)) {
    table.counts.strangersRefused++
    table.end(link, "NotAdmitted")
    return undefined
  }
  const member = table.add(id, address)
  bindInbound(table, link, member)
  return member
}

/** Said once for each node that is found: the address is dialled again and again. */
const noteInstead = (table: Table, link: PeerLink, expected: string, found: string): void => {
  const member = table.members.get(expected)
  if (member === undefined || member.foundInstead === found) return
  member.foundInstead = found
  const what = "another node answers at the address of a known one"
  table.outside.warn(what, { expected, found, at: link.remote })
}

const bindOutbound = (table: Table, link: PeerLink, id: string): Member | undefined => {
  const { purpose } = link
  const known = table.members.get(id)
  if (purpose._tag === "Known" && purpose.id !== id) {
    noteInstead(table, link, purpose.id, id)
    table.end(link, "AnotherNode")
    return undefined
  }
  const isAsked = purpose._tag === "Ask"
  if (known === undefined && (isAsked || purpose._tag === "Look")) {
    if (isAsked || !table.outside.admit(id, link.remote)) {
      table.end(link, "OtherCluster")
      return undefined
    }
    link.send(table.outgoing.heartbeat("Meet", [], false))
  }
  const member = known ?? table.add(id, link.remote)
  if (!settle(table, member, link)) return undefined
  link.peer = member
  link.provenAt = table.outside.now()
  table.outside.changed()
  return member
}
