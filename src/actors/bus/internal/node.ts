/**
 * A member of a cluster without its sockets: links come and go, frames come in, time goes by. All
 * of it on the main thread, synchronously; what it asks for is in `Outside`.
 */
import type { FrameView } from "../../../schema/bus/FrameView.ts"
import { Type } from "../../../schema/bus/Layout.ts"
import { slotOf } from "../../../schema/bus/Slots.ts"
import type { Board } from "./board.ts"
import { heard, take } from "./frames.ts"
import { Note } from "./framing.ts"
import { busyMs, greet, tick } from "./heartbeats.ts"
import { type Address, addressText, type Channel, Link, type Purpose } from "./link.ts"
import type { Member, PeerLink } from "./member.ts"
import type { Self } from "./outgoing.ts"
import type { NodeSettings } from "./settings.ts"
import { type Outside, Table } from "./table.ts"

/** A place where the cluster may be found. */
interface Seed {
  readonly address: Address
  link: PeerLink | undefined
  dialAt: number
}

/** Numbers of peers that took a publication, had no room for it, or were not connected. */
export interface Published {
  readonly taken: number
  readonly full: number
  readonly closed: number
}

export class Node {
  readonly table: Table
  readonly board: Board
  readonly #seeds = new Map<string, Seed>()
  #lastTickAt: number
  #isBoardStale = true
  #isStopped = false
  #keepAt = 0

  /** `board` is what the framers of this node's links read. */
  constructor(self: Self, settings: NodeSettings, outside: Outside, board: Board) {
    this.table = new Table(self, settings, {
      ...outside,
      changed: () => {
        this.#isBoardStale = true
        outside.changed()
      }
    })
    this.board = board
    this.#lastTickAt = outside.now()
  }

  /** Takes in a peer that the journal knows: it is dialled, and may not be another node. */
  recall(id: string, address: Address): void {
    this.table.add(id, address).isProven = true
    this.table.hasJoined = true
  }

  /** Looks for a cluster at an address until a member of it is connected. */
  seed(address: Address): void {
    const key = addressText(address)
    if (!this.#seeds.has(key)) this.#seeds.set(key, { address, link: undefined, dialAt: 0 })
  }

  /**
   * A connection was accepted. If too many have not shown whose they are, the oldest gives way:
   * idle connections must not keep a member out. Undefined if this node takes none.
   */
  accepted(channel: Channel, remote: Address): PeerLink | undefined {
    const { isRemoved, links, settings } = this.table
    if (isRemoved || this.#isStopped) return undefined
    const unproven = [...links].filter((link) => link.isInbound && !link.isProven)
    if (unproven.length >= settings.maxUnprovenLinks) this.table.end(unproven[0]!, "Unproven")
    const link = new Link<Member>({ _tag: "Accepted" }, remote, this.table.outside.now())
    link.channel = channel
    this.table.links.add(link)
    return link
  }

  /** A dialled link is connected, to this address of the name that was dialled. */
  opened(link: PeerLink, channel: Channel, remote: Address): void {
    link.channel = channel
    link.remote = remote
    if (link.end === undefined) greet(this.table, link)
    else channel.close()
  }

  /** A link could not be connected, or its connection has ended. */
  closed(link: PeerLink): void {
    link.channel = undefined
    this.table.detach(link)
  }

  /** A note of the framer between the frames of a link. True: the next frame is answered. */
  noted(link: PeerLink, bytes: Uint8Array, from: number): boolean {
    if (Note.isAnswered(bytes, from)) return true
    if (Note.isSkipped(bytes, from)) this.table.counts.framesSkipped++
    const missed = Note.missedBy(bytes, from)
    if (missed > 0) {
      this.table.counts.publicationsMissed += missed
      this.table.outside.missed(missed)
    }
    if (link.end === undefined) heard(this.table, link, this.table.outside.now())
    return false
  }

  /** A frame that its reader has refused. */
  dropped(): void {
    this.table.counts.framesDropped++
  }

  /** `now`: when the frame was read. */
  take(
    link: PeerLink,
    frame: FrameView,
    isAnswered: boolean,
    now = this.table.outside.now()
  ): void {
    take(this.table, link, frame, isAnswered, now)
  }

  tick(): void {
    if (this.#isStopped) return
    const now = this.table.outside.now()
    const lateMs = now - this.#lastTickAt
    this.#lastTickAt = now
    tick(this.table, lateMs)
    if (!this.table.isRemoved) this.#lookAtSeeds(now)
    if (now >= this.#keepAt) this.#keep(now)
    this.#publishBoard()
    this.table.trim()
  }

  /**
   * A link that dials an address and asks to be taken in. A node of a cluster only looks which one
   * answers there: it would merge the two.
   */
  meet(address: Address): PeerLink {
    if (this.table.isRemoved) this.#return()
    return this.table.dial(this.#purposeOf(), address)
  }

  #purposeOf(): Purpose {
    return { _tag: this.table.proven.length === 0 ? "Meet" : "Look" }
  }

  /** A link that dials an address and only asks which node is there. */
  ask(address: Address): PeerLink {
    return this.table.dial({ _tag: "Ask" }, address)
  }

  /** The node was removed in an earlier life: it dials nobody until it is told to meet a node. */
  stayAway(): void {
    this.table.isRemoved = true
  }

  /** The cluster that has removed this node is another one's to join. */
  #return(): void {
    const { members, outside } = this.table
    this.table.isRemoved = false
    this.table.hasJoined = false
    for (const member of members.values()) this.table.remove(member, "Forgotten")
    outside.returned()
  }

  /** Takes a node out of this node's table alone. Slot owners and this node itself stay. */
  forget(id: string): "forgotten" | "unknown" | "ownsSlots" | "myself" {
    const { members, outside, self, settings, slots } = this.table
    if (id === self.id) return "myself"
    const member = members.get(id)
    if (member === undefined) return "unknown"
    if (slots.isOwner(id)) return "ownsSlots"
    this.table.ignoredUntil.set(id, outside.now() + settings.forgetMs)
    this.table.remove(member, "Forgotten")
    return "forgotten"
  }

  /** Sends a publication to every peer that is connected: all of them pass it to their clients. */
  publish(channel: Uint8Array, message: Uint8Array): Published {
    return this.#send(this.table.proven, Type.publish, channel, message)
  }

  /**
   * Sends a publication to the nodes that clients subscribe at for a channel of a shard: those that
   * serve its slot. Servers pass it on within their shard alone, so each of them gets it.
   */
  publishShard(channel: Uint8Array, message: Uint8Array): Published {
    const { members, proven, slots } = this.table
    const owner = slots.ownerOf(slotOf(channel))
    const shard = owner === undefined ? undefined : members.get(owner)?.shard
    const serving = proven.filter(
      (member) =>
        member.id === owner ||
        (owner !== undefined && member.primary === owner) ||
        (shard !== undefined && member.shard === shard)
    )
    return this.#send(serving, Type.publishShard, channel, message)
  }

  #send(
    members: ReadonlyArray<Member>,
    type: number,
    channel: Uint8Array,
    message: Uint8Array
  ): Published {
    const { outgoing, settings } = this.table
    const frames = new Map<boolean, Uint8Array>()
    const published = { taken: 0, full: 0, closed: 0 }
    for (const { outbound, takesLightPublish } of members) {
      // A light frame has no sender: it may follow only where a full one has gone before.
      const isLight = takesLightPublish && outbound?.isProven === true
      const known = frames.get(isLight)
      const bytes = known ?? outgoing.publish(type, channel, message, isLight)
      frames.set(isLight, bytes)
      const isOpen = outbound?.isProven === true
      const status = isOpen ? outbound.send(bytes, settings.heartbeatBytes) : "closed"
      published[status === "accepted" ? "taken" : status]++
    }
    return published
  }

  /** A newer owner of the journal speaks under this id: this node is over. */
  replaced(): void {
    const { outside, self } = this.table
    this.table.isReplaced = true
    outside.warn("a newer owner of the journal has this node's id", { id: self.id })
    this.stop()
    outside.changed()
  }

  /** Ends every link; workers answer for this node no more. */
  stop(): void {
    this.#isStopped = true
    this.board.revoke()
    for (const link of this.table.links) this.table.end(link, "Stopped")
  }

  #lookAtSeeds(now: number): void {
    const isConnected = this.table.proven.some(({ outbound }) => outbound?.isProven)
    for (const seed of this.#seeds.values()) {
      const { link } = seed
      if (link !== undefined && !this.table.links.has(link)) {
        seed.dialAt = link.end === "Myself" ? Infinity : this.table.pace(seed.address).dialAt
        seed.link = undefined
      }
      if (isConnected || seed.link !== undefined || now < seed.dialAt) continue
      // When peers are known, an answer shows whether the seed still belongs to their cluster.
      seed.link = this.table.dial(this.#purposeOf(), seed.address)
    }
  }

  /** Says again what is worth a record: it costs none, unless an append has failed meanwhile. */
  #keep(now: number): void {
    const { isRemoved, outside, proven, settings } = this.table
    this.#keepAt = now + settings.nodeTimeoutMs
    if (isRemoved) outside.removed()
    for (const { address, id } of proven) outside.keep(id, address)
  }

  #publishBoard(): void {
    const { isRemoved, outgoing, proven, settings } = this.table
    if (isRemoved) return this.board.revoke()
    if (this.#isBoardStale) {
      this.#isBoardStale = false
      const ids = proven.map(({ id }) => id).toSorted()
      this.board.publish(ids, {
        plain: outgoing.heartbeat("Pong", [], false),
        extended: outgoing.heartbeat("Pong", [], true)
      })
    }
    this.board.renew(settings.answerMs, busyMs(settings))
  }
}
