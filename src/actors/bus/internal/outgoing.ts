/**
 * Makes the frames that a node sends. It owns no slots and votes for nothing: its epochs are 0
 * whatever it was told, its gossip names nobody as failing, and it has no frame of type FAIL and no
 * extension that makes others forget a node.
 */
import { MessageFlag, NodeFlag, slotBytes, Type } from "../../../schema/bus/Layout.ts"
import type { Extension, Gossip, Header } from "../../../schema/bus/Message.ts"
import { encode } from "../../../schema/bus/MessageCodec.ts"
import type { Member } from "./member.ts"

/** The description of this node in every full frame. */
export interface Self {
  readonly id: string
  readonly shard: string
  /** Empty: the address of the connection. */
  readonly ip: string
  readonly busPort: number
  /** 0: this node serves no clients. */
  readonly clientPort: number
}

const flags =
  NodeFlag.primary | NodeFlag.myself | NodeFlag.takesLightPublish | NodeFlag.takesLightModule

/** Flags of others that gossip passes on. */
const toldFlags = NodeFlag.primary | NodeFlag.replica | NodeFlag.noFailover

const noSlots = new Uint8Array(slotBytes)

const headerOf = (self: Self): Header => ({
  port: self.clientPort,
  currentEpoch: 0n,
  configEpoch: 0n,
  replicationOffset: 0n,
  sender: self.id,
  slots: noSlots,
  replicaOf: undefined,
  ip: self.ip,
  otherPort: 0,
  busPort: self.busPort,
  flags,
  isClusterOk: true,
  messageFlags: MessageFlag.hasExtensions
})

/** Gossip about a member: this node's observations, in seconds since 1970. */
export const gossipAbout = (member: Member): Gossip => ({
  id: member.id,
  pingSent: 0,
  pongReceived: member.pongSeconds,
  ip: member.address.ip,
  port: member.port,
  busPort: member.address.busPort,
  otherPort: member.otherPort,
  flags: member.flags & toldFlags
})

export class Outgoing {
  readonly #header: Header
  readonly #extensions: ReadonlyArray<Extension>

  constructor(self: Self) {
    this.#header = headerOf(self)
    this.#extensions = [{ _tag: "ShardId", id: self.shard }]
  }

  /** A heartbeat. Extensions go to peers that have said that they take them. */
  heartbeat(
    _tag: "Ping" | "Pong" | "Meet",
    gossip: ReadonlyArray<Gossip>,
    isExtended: boolean
  ): Uint8Array {
    const extensions = isExtended ? this.#extensions : []
    return encode({ _tag, header: this.#header, gossip, extensions })
  }

  /** A publication; light for peers that take it so. */
  publish(type: number, channel: Uint8Array, message: Uint8Array, isLight: boolean): Uint8Array {
    const _tag = type === Type.publishShard ? "PublishShard" : "Publish"
    return encode({ _tag, header: isLight ? undefined : this.#header, channel, message })
  }
}
