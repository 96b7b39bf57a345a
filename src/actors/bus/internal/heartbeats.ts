/**
 * What a node does as time goes by: dials peers, sends PINGs, ends links that do not answer, and
 * notices who is silent and who has forgotten it.
 */
import { tell } from "./gossip.ts"
import { addressText } from "./link.ts"
import type { Member, PeerLink } from "./member.ts"
import type { NodeSettings } from "./settings.ts"
import { pursue, verify } from "./verifying.ts"
import type { Table } from "./table.ts"

/** A node is asked at least every half timeout; a third leaves room for a late tick. */
const pingsPerTimeout = 3

/** The rate of the slowest peer that is waited for: 1 KB/s. */
const slowestBytesPerMs = 1

/** Runs every tenth of a second, as the servers' own timer does. */
export const tickMs = 100

/** Milliseconds without a tick after which workers take the main thread for busy. */
export const busyMs = ({ nodeTimeoutMs }: Pick<NodeSettings, "nodeTimeoutMs">): number =>
  Math.max(nodeTimeoutMs / 4, 5 * tickMs)

/**
 * Called every `tickMs`. A call that is late by a quarter of the timeout means that this process
 * has slept: what it has not heard meanwhile says nothing about its peers.
 */
export const tick = (table: Table, lateMs: number): void => {
  const { nodeTimeoutMs } = table.settings
  const now = table.outside.now()
  if (lateMs > nodeTimeoutMs / 4) table.awakeSince = now
  for (const link of table.links) lookAtLink(table, link, now)
  if (table.isRemoved) return
  for (const member of table.members.values()) {
    if (member.isProven) lookAtMember(table, member, now)
    else if (now - member.namedAt > 2 * nodeTimeoutMs) expire(table, member, now)
    if (member.outbound === undefined && now >= member.dialAt) dialMember(table, member, now)
    const { outbound, secondAddress } = member
    if (secondAddress !== undefined && !outbound?.isProven) verify(table, member, secondAddress)
  }
  noticeRemoval(table)
}

const dialMember = (table: Table, member: Member, now: number): void => {
  if (!table.members.has(member.id)) return
  if (isTaken(table, member)) {
    table.pace(member.address).failed(now)
    member.dialAt = table.pace(member.address).dialAt
    return
  }
  member.outbound = table.dial({ _tag: "Known", id: member.id }, member.address)
}

/** Another member answers at its address: it would end its own link to take the new one. */
const isTaken = (table: Table, { address }: Member): boolean => {
  for (const { address: other, outbound } of table.members.values()) {
    if (outbound?.isProven && addressText(other) === addressText(address)) return true
  }
  return false
}

/** A name that nobody answered to. It is not taken again at once. */
const expire = (table: Table, member: Member, now: number): void => {
  table.ignoredUntil.set(member.id, now + table.settings.nodeTimeoutMs)
  table.remove(member, "Unproven")
}

const lookAtLink = (table: Table, link: PeerLink, now: number): void => {
  const { nodeTimeoutMs } = table.settings
  const since = Math.max(table.awakeSince, link.openedAt)
  if (!link.isProven) {
    if (link.claim !== undefined) pursue(table, link, link.claim)
    if (now - since > nodeTimeoutMs) table.end(link, "Unproven")
    return
  }
  if (link.isInbound || link.peer?.outbound !== link) return
  const sentAt = link.pingSentAt
  if (sentAt === undefined) {
    if (now >= link.peer.nextPingAt) ping(table, link, link.peer, now)
    return
  }
  const unansweredSince = Math.max(sentAt, table.awakeSince)
  const silentSince = Math.max(unansweredSince, link.peer.lastHeardAt)
  // Frames on the link that the peer has dialled do not show that this one works.
  const patienceMs = nodeTimeoutMs + link.bytesBeforePing / slowestBytesPerMs
  const isBroken = now - unansweredSince > patienceMs
  if (isBroken || now - silentSince > nodeTimeoutMs / 2) table.end(link, "PingUnanswered")
}

const ping = (table: Table, link: PeerLink, peer: Member, now: number): void => {
  const bytes = table.outgoing.heartbeat("Ping", tell(table, peer), peer.takesExtensions)
  if (!link.ping(bytes, now)) return
  const spread = 0.9 + 0.2 * table.outside.random()
  peer.nextPingAt = now + (spread * table.settings.nodeTimeoutMs) / pingsPerTimeout
}

/** The first frame on a link that was dialled. It carries no gossip: the peer may be a stranger. */
export const greet = (table: Table, link: PeerLink): void => {
  const kind = link.purpose._tag === "Meet" ? "Meet" : "Ping"
  link.ping(table.outgoing.heartbeat(kind, [], false), table.outside.now())
}

const lookAtMember = (table: Table, member: Member, now: number): void => {
  const { forgetMs, nodeTimeoutMs } = table.settings
  const silentSince = Math.max(member.lastHeardAt, table.awakeSince)
  if (!member.isSuspected && now - silentSince > nodeTimeoutMs) {
    member.isSuspected = true
    table.outside.changed()
  }
  const link = member.outbound
  if (link === undefined || !link.isProven) return
  if (hasForgotten(table, member, link, now)) {
    member.hasForgottenUs = true
    member.rejoinAt = Math.min(member.rejoinAt, now + forgetMs)
    table.outside.changed()
  }
  if (now >= member.rejoinAt) rejoin(table, member, link, now)
}

/**
 * A peer answers as to a stranger and sends no PING, for a node timeout, and has closed its link:
 * it has deleted this node. A link that stands may be broken without its notice, and a peer that
 * wakes up answers before it asks.
 */
const hasForgotten = (table: Table, member: Member, link: PeerLink, now: number): boolean => {
  if (member.hasForgottenUs || member.inbound !== undefined) return false
  const { nodeTimeoutMs } = table.settings
  const { answersSince, inboundLostAt, knewUsAt, lastPongAt } = member
  const knownAt = Math.max(knewUsAt, inboundLostAt)
  const unknownSince = Math.max(knownAt, answersSince, link.provenAt, table.awakeSince)
  return now - lastPongAt < nodeTimeoutMs && now - unknownSince > nodeTimeoutMs
}

/** Some peers still know this node, so the administrator has not removed it from the cluster. */
const rejoin = (table: Table, member: Member, link: PeerLink, now: number): void => {
  const bytes = table.outgoing.heartbeat("Meet", [], member.takesExtensions)
  if (link.send(bytes) === "accepted") member.rejoinAt = now + table.settings.forgetMs
}

/** Every peer that can be heard has forgotten this node: it was removed, and does not come back. */
const noticeRemoval = (table: Table): void => {
  if (!table.hasJoined) return
  const heard = table.proven.filter(({ isSuspected, outbound }) => !isSuspected && outbound)
  if (heard.length === 0 || heard.some(({ hasForgottenUs }) => !hasForgottenUs)) return
  table.isRemoved = true
  for (const link of table.links) table.end(link, "Forgotten")
  table.outside.removed()
  table.outside.changed()
}
