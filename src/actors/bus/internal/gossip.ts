/**
 * What peers tell about third nodes. Names come from proven members only, and are bounded: a name
 * costs a dial, and is nobody until the node answers with it.
 */
import type { FrameView, GossipEntry } from "../../../schema/bus/FrameView.ts"
import { NodeFlag } from "../../../schema/bus/Layout.ts"
import type { Gossip } from "../../../schema/bus/Message.ts"
import { canonicalIp } from "./addresses.ts"
import { type Address, isSameAddress } from "./link.ts"
import type { Member } from "./member.ts"
import { gossipAbout } from "./outgoing.ts"
import type { Table } from "./table.ts"
import { verify } from "./verifying.ts"

const untold = NodeFlag.noAddress | NodeFlag.handshake
const failing = NodeFlag.suspected | NodeFlag.failed

/** Applies the gossip of a frame that a proven member sent. */
export const hear = (table: Table, teller: Member, frame: FrameView): void => {
  if (frame.gossipCount === 0) return
  if (!frame.isGossipValid) {
    table.counts.gossipIgnored++
    return
  }
  const unproven = [...table.members.values()].filter(({ isProven }) => !isProven)
  for (let k = 0; k < frame.gossipCount; k++) {
    hearEntry(table, teller, frame.gossip(k), unproven)
  }
}

/** `unproven` are the members that were only named. */
const hearEntry = (
  table: Table,
  teller: Member,
  entry: GossipEntry,
  unproven: Array<Member>
): void => {
  const { busPort, flags, id, ip } = entry
  if (id === table.self.id) return hearOfSelf(table, entry)
  if ((flags & untold) !== 0 || busPort === 0) return
  const told = ip === "" ? teller.address.ip : canonicalIp(ip)
  if (told === undefined) return void table.counts.gossipIgnored++
  const address = { ip: told, busPort }
  const known = table.members.get(id)
  if (known !== undefined) {
    // A node that cannot be reached where it was may have moved; only its own answer shows that.
    if (known.outbound === undefined) verify(table, known, address)
    return
  }
  if ((flags & failing) === 0) name(table, id, address, unproven)
}

const hearOfSelf = (table: Table, { busPort, flags, ip }: GossipEntry): void => {
  const isCalledFailed = (flags & NodeFlag.failed) !== 0
  if (isCalledFailed !== table.isCalledFailed) {
    table.isCalledFailed = isCalledFailed
    table.outside.changed()
  }
  const isElsewhere = busPort !== 0 && busPort !== table.self.busPort
  if (isElsewhere && table.sameIdAt === undefined) {
    table.sameIdAt = `${ip}:${busPort}`
    table.outside.warn("another node has this node's id", { at: table.sameIdAt })
    table.outside.changed()
  }
}

/** Takes a name from a proven member, within bounds. */
const name = (table: Table, id: string, address: Address, unproven: Array<Member>): void => {
  const { maxMembers, maxUnprovenLinks } = table.settings
  const isRefused =
    unproven.length >= maxUnprovenLinks ||
    table.members.size >= maxMembers ||
    table.ignoredUntil.has(id) ||
    unproven.some((member) => isSameAddress(member.address, address))
  if (isRefused) table.counts.gossipIgnored++
  else unproven.push(table.add(id, address))
}

/** Servers tell each other about a tenth of the cluster, and of three at least. */
const leastEntries = 3

/**
 * Gossip for a peer: some members that this node hears well. Failing nodes are left out, since some
 * servers would count what this node says of them as a vote.
 */
export const tell = (table: Table, receiver: Member | undefined): ReadonlyArray<Gossip> => {
  const heard = table.proven.filter(
    (member) =>
      member !== receiver && member.pongSeconds > 0 && !member.isSuspected && !member.isFailed
  )
  const wanted = Math.max(leastEntries, Math.floor(table.members.size / 10))
  const first = Math.floor(table.outside.random() * heard.length)
  return Array.from({ length: Math.min(wanted, heard.length) }, (_, k) =>
    gossipAbout(heard[(first + k) % heard.length]!)
  )
}
