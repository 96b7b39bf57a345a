/** Handles the frames of a node's links. Full ones describe their sender first. */
import type { FrameView } from "../../../schema/bus/FrameView.ts"
import { idBytes, isHeartbeat, Type } from "../../../schema/bus/Layout.ts"
import { readExtensions } from "../../../schema/bus/ExtensionCodec.ts"
import { bind } from "./binding.ts"
import { hear, tell } from "./gossip.ts"
import type { Member, PeerLink } from "./member.ts"
import type { Table } from "./table.ts"

/** Takes a checked frame of a link. `isAnswered`: its PONG has left from where it was read. */
export const take = (
  table: Table,
  link: PeerLink,
  frame: FrameView,
  isAnswered: boolean,
  now: number
): void => {
  if (link.end !== undefined) return
  const peer = link.peer ?? open(table, link, frame, isAnswered)
  if (peer === undefined) return
  const isNew = !frame.isLight && !isLearned(table, link, peer, frame)
  if (isNew && !frame.isFrom(peer.idBytes)) return table.end(link, "SenderChanged")
  heard(table, link, now)
  if (isNew) learn(table, link, peer, frame)
  if (isHeartbeat(frame.type)) heartbeat(table, link, peer, frame, isAnswered)
  else act(table, peer, frame)
}

const open = (
  table: Table,
  link: PeerLink,
  frame: FrameView,
  isAnswered: boolean
): Member | undefined => {
  link.unprovenFrames++
  if (frame.isLight || link.unprovenFrames > table.settings.maxUnprovenFrames) {
    table.end(link, "Unproven")
    return undefined
  }
  const peer = bind(table, link, frame)
  // It learns which node is here, and no more: a stranger may have heard of this node before the
  // gossip about it comes, and a member that has moved asks again when it is answered.
  if (peer === undefined && frame.type === Type.ping && !isAnswered) {
    link.send(table.outgoing.heartbeat("Pong", [], false))
  }
  return peer
}

/** Bytes of a link's peer have come, on whichever of its links: it is alive. */
export const heard = (table: Table, link: PeerLink, now: number): void => {
  const { peer } = link
  if (peer === undefined) return
  link.heardAt = now
  peer.lastHeardAt = now
  if (!peer.isSuspected && !peer.isFailed) return
  peer.isSuspected = false
  peer.isFailed = false
  table.outside.changed()
}

/** The peer's last description came on this link, and slots have not moved since. */
const isLearned = (table: Table, link: PeerLink, peer: Member, frame: FrameView): boolean =>
  frame.isRepeated && peer.learnedOn === link && peer.learnedRevision === table.slots.revision

const learn = (table: Table, link: PeerLink, peer: Member, frame: FrameView): void => {
  const isKept = peer.isProven
  let hasChanged = peer.learn(frame)
  if (!isKept) table.outside.keep(peer.id, peer.address)
  if (!peer.isReplica) hasChanged = claim(table, peer, frame) || hasChanged
  if (hasChanged) table.outside.changed()
  peer.learnedOn = link
  peer.learnedRevision = table.slots.revision
}

/** A primary claims its slots in every full frame. */
const claim = (table: Table, peer: Member, frame: FrameView): boolean => {
  const { configEpoch, currentEpoch } = frame
  const highest = configEpoch > currentEpoch ? configEpoch : currentEpoch
  if (isOutOfReach(table, peer, highest)) return false
  const hasMoved = table.slots.claim(peer.id, configEpoch, frame.slots)
  if (currentEpoch > table.clusterEpoch && table.slots.claimsSlots(peer.id)) {
    table.clusterEpoch = currentEpoch
  }
  return hasMoved
}

/** No later failover would win against such an epoch. */
const isOutOfReach = ({ clusterEpoch, outside, settings }: Table, peer: Member, epoch: bigint) => {
  if (clusterEpoch === 0n || epoch - clusterEpoch <= BigInt(settings.maxEpochLeap)) return false
  outside.warn("a node claims an epoch out of reach", { id: peer.id, epoch: `${epoch}` })
  return true
}

const heartbeat = (
  table: Table,
  link: PeerLink,
  peer: Member,
  frame: FrameView,
  isAnswered: boolean
): void => {
  const now = table.outside.now()
  if (frame.type === Type.pong) {
    if (now - peer.lastPongAt > table.settings.nodeTimeoutMs / 2) peer.answersSince = now
    peer.lastPongAt = now
    peer.pongSeconds = table.outside.unixSeconds()
    if (link.pingSentAt !== undefined) {
      link.rttMs = now - link.pingSentAt
      link.pingSentAt = undefined
    }
  } else {
    if (frame.type === Type.ping) table.isKnownTo(peer)
    if (!isAnswered) {
      link.send(table.outgoing.heartbeat("Pong", tell(table, peer), peer.takesExtensions))
    }
  }
  hear(table, peer, frame)
  if (frame.extensionCount > 0) extend(table, peer, frame)
}

/** Servers refuse longer ones. */
const longestHostname = 255

const extend = (table: Table, peer: Member, frame: FrameView): void => {
  for (const extension of readExtensions(frame)) {
    switch (extension._tag) {
      case "ShardId":
        if (peer.shard !== extension.id) table.outside.changed()
        peer.shard = extension.id
        // Servers that send it leave it out for strangers.
        peer.knewUsAt = table.outside.now()
        break
      case "Hostname":
        if (extension.text.length > longestHostname) break
        if (peer.hostname !== extension.text) table.outside.changed()
        peer.hostname = extension.text
        break
      case "ForgottenNode":
        forgotten(table, peer, extension.id, Number(extension.seconds))
        break
      default:
    }
  }
}

/** A proven peer says that a node was removed by CLUSTER FORGET, and is not to be taken in. */
const forgotten = (table: Table, peer: Member, id: string, seconds: number): void => {
  const now = table.outside.now()
  const millis = Math.min(1_000 * seconds, table.settings.longestBanMs)
  if (id === table.self.id) {
    peer.hasForgottenUs = true
    peer.rejoinAt = Math.min(peer.rejoinAt, now + millis)
    return
  }
  const member = table.members.get(id)
  if (member === undefined || member === peer) return
  const ownedSlots = table.slots.isOwner(id)
  table.outside.warn("a node was forgotten", { id, toldBy: peer.id, ownedSlots })
  table.ignoredUntil.set(id, now + millis)
  table.remove(member, "Forgotten")
}

const act = (table: Table, peer: Member, frame: FrameView): void => {
  const { dataFrom: at } = frame
  switch (frame.type) {
    case Type.fail:
      return fail(table, frame.text(at, at + idBytes))
    case Type.update: {
      const id = frame.text(at + 8, at + 8 + idBytes)
      return update(table, peer, id, frame.uint64(at), frame.bytes.subarray(at + 48, frame.to))
    }
    case Type.publish:
    case Type.publishShard:
      return table.outside.deliver({
        type: frame.type === Type.publish ? "publish" : "publishShard",
        from: peer.id,
        channel: frame.channel,
        message: frame.message,
        moduleType: 0
      })
    case Type.module:
      return table.outside.deliver({
        type: "module",
        from: peer.id,
        channel: frame.bytes.subarray(at, at + 8),
        message: frame.bytes.subarray(at + 13, frame.to),
        moduleType: frame.bytes[at + 12]!
      })
    default:
    // Votes and manual failovers are between primaries and replicas: this node is neither.
  }
}

const fail = (table: Table, id: string): void => {
  if (id === table.self.id) table.isCalledFailed = true
  const member = table.members.get(id)
  if (member !== undefined) member.isFailed = true
  table.outside.changed()
}

const update = (
  table: Table,
  peer: Member,
  id: string,
  configEpoch: bigint,
  slots: Uint8Array
): void => {
  if (id === table.self.id) {
    table.outside.warn("a node claims slots in this node's name", { toldBy: peer.id })
    return
  }
  const member = table.members.get(id)
  if (member === undefined || isOutOfReach(table, peer, configEpoch)) return
  if (table.slots.claim(id, configEpoch, slots)) table.outside.changed()
}
