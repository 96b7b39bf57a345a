/**
 * The nodes and links of one cluster as this node knows them, and what has been counted. Only data:
 * `frames`, `gossip` and `heartbeats` decide on it, all on the main thread.
 */
import { Backoff } from "../../link/Backoff.ts"
import { FaultWindow } from "../../link/FaultWindow.ts"
import { type Address, addressText, type LinkEnd, type Purpose, Link } from "./link.ts"
import { Member, type PeerLink } from "./member.ts"
import { Outgoing, type Self } from "./outgoing.ts"
import type { NodeSettings } from "./settings.ts"
import { SlotTable } from "./slotTable.ts"

/** A publication of a peer. */
export interface Publication {
  readonly type: "publish" | "publishShard" | "module"
  readonly from: string
  readonly channel: Uint8Array
  readonly message: Uint8Array
  /** Of a module, its type; otherwise 0. */
  readonly moduleType: number
}

/** Effects on which decisions depend, and those that they cause. */
export interface Outside {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
  /** Seconds since 1970, for gossip alone. */
  readonly unixSeconds: () => number
  /** From 0 up to, but not including, 1. */
  readonly random: () => number
  /** Connects a link; `opened` or `failed` of the node follow. */
  readonly dial: (link: PeerLink) => void
  /** Whether a node that asks to be taken in, or that a user has not met, may be. */
  readonly admit: (id: string, address: Address) => boolean
  /** Members, slots or links look different to a user. */
  readonly changed: () => void
  /** A peer's address is proven: it is worth a record. */
  readonly keep: (id: string, address: Address) => void
  /** A peer is not of this cluster any more. */
  readonly drop: (id: string) => void
  /** Every peer has forgotten this node. */
  readonly removed: () => void
  /** A removed node is to join again. */
  readonly returned: () => void
  /** The bytes of the publication lie where they were read: they are valid during the call. */
  readonly deliver: (publication: Publication) => void
  /** So many publications came while the main thread was busy, and were left out. */
  readonly missed: (count: number) => void
  readonly warn: (what: string, fields: Readonly<Record<string, unknown>>) => void
}

/** Counts of a node since it started. */
export interface NodeCounts {
  framesDropped: number
  framesSkipped: number
  /** Publications that were left out while the main thread was busy for long. */
  publicationsMissed: number
  strangersRefused: number
  gossipIgnored: number
  dials: number
  /** Links that were ended because a first frame or an answer did not come in time. */
  linksTimedOut: number
}

/** When an address may be dialled again. */
class Pace {
  readonly #backoff: Backoff
  dialAt = 0

  constructor(backoff: Backoff) {
    this.#backoff = backoff
  }

  /** A dial, or a link that it has opened, has ended. */
  failed(now: number): void {
    this.dialAt = now + this.#backoff.next()
  }

  /** A member answered there. */
  proven(): void {
    this.#backoff.proven()
  }
}

export class Table {
  readonly self: Self
  readonly settings: NodeSettings
  readonly outside: Outside
  readonly outgoing: Outgoing
  readonly members = new Map<string, Member>()
  readonly links = new Set<PeerLink>()
  readonly slots = new SlotTable()
  readonly counts: NodeCounts = {
    framesDropped: 0,
    framesSkipped: 0,
    publicationsMissed: 0,
    strangersRefused: 0,
    gossipIgnored: 0,
    dials: 0,
    linksTimedOut: 0
  }
  /** Until when a name that a peer forgot, or that proved wrong, is not taken from gossip. */
  readonly ignoredUntil = new Map<string, number>()
  /** The cluster's epoch as its primaries tell it: for users, never for frames. */
  clusterEpoch = 0n
  /** Others tell that this node has failed. */
  isCalledFailed = false
  /** Where another node uses this node's id; `unknown` if only the signs of it are seen. */
  sameIdAt: string | undefined = undefined
  /** Since when this process has run without a pause. */
  awakeSince: number
  isRemoved = false
  /** Another owner of the journal has this node's id. */
  isReplaced = false
  /** A peer has sent a PING: it knows this node. */
  hasJoined = false
  readonly #paces = new Map<string, Pace>()

  constructor(self: Self, settings: NodeSettings, outside: Outside) {
    this.self = self
    this.settings = settings
    this.outside = outside
    this.outgoing = new Outgoing(self)
    this.awakeSince = outside.now()
  }

  /** Members that have shown that they are of this cluster. */
  get proven(): ReadonlyArray<Member> {
    return [...this.members.values()].filter(({ isProven }) => isProven)
  }

  add(id: string, address: Address): Member {
    const { lossesOfCopy, nodeTimeoutMs } = this.settings
    const losses = new FaultWindow({
      faults: lossesOfCopy,
      withinMs: 2 * nodeTimeoutMs,
      pauseMs: nodeTimeoutMs
    })
    const member = new Member(id, address, this.outside.now(), losses)
    this.members.set(id, member)
    return member
  }

  /** Takes a member out with its links. */
  remove(member: Member, end: LinkEnd): void {
    this.members.delete(member.id)
    for (const link of this.links) {
      const { purpose } = link
      const isDialled = purpose._tag === "Known" && purpose.id === member.id
      if (isDialled || link.peer === member || link.claim?.member === member) this.end(link, end)
    }
    this.slots.remove(member.id)
    if (member.isProven) this.outside.drop(member.id)
    this.outside.changed()
  }

  dial(purpose: Purpose, to: Address): PeerLink {
    const link = new Link<Member>(purpose, to, this.outside.now())
    this.links.add(link)
    this.counts.dials++
    this.outside.dial(link)
    return link
  }

  /** The peer sends PINGs, so this node is in its table. */
  isKnownTo(peer: Member): void {
    const now = this.outside.now()
    // Servers bind a link to the node whose frame comes on it: the frames before were a stranger's.
    if (peer.knewUsAt === -Infinity || peer.hasForgottenUs) peer.nextPingAt = now
    peer.knewUsAt = now
    peer.hasForgottenUs = false
    peer.rejoinAt = Infinity
    if (this.hasJoined) return
    this.hasJoined = true
    this.outside.changed()
  }

  /** Ends a link from this side. Nothing that comes from it later is taken. */
  end(link: PeerLink, reason: LinkEnd): void {
    const isDeadline = reason === "Unproven" || reason === "PingUnanswered"
    if (isDeadline && this.links.has(link)) this.counts.linksTimedOut++
    link.close(reason)
    this.detach(link)
  }

  /** The link is gone, for whatever reason: its peer is dialled again after a while. */
  detach(link: PeerLink): void {
    if (!this.links.delete(link)) return
    link.onGone?.()
    const { claim, purpose } = link
    if (claim?.dial !== undefined) this.end(claim.dial, "NotNeeded")
    if (!link.isInbound) this.pace(link.dialled).failed(this.outside.now())
    const id = link.peer?.id ?? (purpose._tag === "Known" ? purpose.id : undefined)
    const member = id === undefined ? undefined : this.members.get(id)
    if (member === undefined) return
    if (member.inbound === link) {
      member.inbound = undefined
      member.inboundLostAt = this.outside.now()
    }
    if (member.outbound === link) {
      member.outbound = undefined
      member.dialAt = this.pace(link.dialled).dialAt
      if (link.isProven && link.end === undefined) this.#lost(link, member)
    }
    this.outside.changed()
  }

  /**
   * A peer has ended a link that it had taken. Servers keep one link of a node and end the older
   * one, so a link that is lost again and again means that another node uses this node's id.
   */
  #lost(link: PeerLink, member: Member): void {
    const { nodeTimeoutMs } = this.settings
    const now = this.outside.now()
    if (now - link.provenAt > nodeTimeoutMs) return
    member.losses.fault(now)
    if (!member.losses.isPaused(now)) return
    member.dialAt = now + nodeTimeoutMs
    if (this.sameIdAt !== undefined) return
    this.sameIdAt = "unknown"
    this.outside.warn("links are lost again and again: another node may have this node's id", {
      at: member.id
    })
  }

  /** One for each address, so that it is dialled at one pace whatever ids claim it. */
  pace(address: Address): Pace {
    const key = addressText(address)
    const known = this.#paces.get(key)
    if (known !== undefined) return known
    const { firstRedialMs: firstMs, longestRedialMs: longestMs } = this.settings
    const pace = new Pace(new Backoff({ firstMs, longestMs }, this.outside.random))
    this.#paces.set(key, pace)
    return pace
  }

  /** Forgets what has no use any more: bans that are over, and the pace of unknown addresses. */
  trim(): void {
    const now = this.outside.now()
    for (const [id, until] of this.ignoredUntil) if (until <= now) this.ignoredUntil.delete(id)
    if (this.#paces.size <= this.members.size + this.settings.maxIdlePaces) return
    const known = new Set([...this.members.values()].map(({ address }) => addressText(address)))
    for (const key of this.#paces.keys()) if (!known.has(key)) this.#paces.delete(key)
  }
}
