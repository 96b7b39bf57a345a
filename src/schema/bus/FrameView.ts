/**
 * One frame where it lies: checked once, then read field by field.
 *
 * A view is used again for every frame of a link, so that reading a frame allocates nothing but
 * what the caller asks for. It is valid while the bytes are.
 */
import type { FrameFault } from "./Fault.ts"
import { faultOfExtensions } from "./internal/extensions.ts"
import { isIdAt, isZero, textEnd } from "./internal/fields.ts"
import {
  At,
  gossipBytes,
  GossipAt,
  hasLightForm,
  headerBytes,
  idBytes,
  ipBytes,
  isHeartbeat,
  lightBit,
  lightHeaderBytes,
  MessageFlag,
  slotBytes,
  Type,
  version
} from "./Layout.ts"

/** Gossip of one node about another. Times are the sender's clock, in seconds since 1970. */
export interface GossipEntry {
  readonly id: string
  readonly pingSent: number
  readonly pongReceived: number
  readonly ip: string
  readonly port: number
  readonly busPort: number
  readonly otherPort: number
  readonly flags: number
}

const nothing = new Uint8Array(0)

/** Bytes of the two lengths before a channel and a message. */
const publishLengthBytes = 8
/** Bytes of a module's id, of the length of its message, and of its type. */
const modulePrefixBytes = 13

/** Bytes of the frames that have one length only. */
const exactBytes: Readonly<Record<number, number>> = {
  [Type.fail]: headerBytes + idBytes,
  [Type.authRequest]: headerBytes,
  [Type.authAck]: headerBytes,
  [Type.update]: headerBytes + 8 + idBytes + slotBytes,
  [Type.manualFailoverStart]: headerBytes
}

export class FrameView {
  /** The memory in which the frame lies. */
  bytes: Uint8Array = nothing
  #view: DataView = new DataView(nothing.buffer)
  #buffer: Buffer = Buffer.alloc(0)
  /** First byte of the frame. */
  from = 0
  /** First byte behind the frame. */
  to = 0
  /** The type without the bit of the light header; `Layout.Type` has the known ones. */
  type = 0
  /** A light header says nothing about its sender: that is the node of the link. */
  isLight = false
  /** The header describes its sender as the frame before on its link did. */
  isRepeated = false

  /**
   * Takes the whole frame in `[from, to)`, or says why it must be dropped. Bytes that a framer has
   * cut have the signature and the length of a frame; others are refused here. A header that is
   * repeated was checked before.
   */
  read(bytes: Uint8Array, from: number, to: number, isRepeated = false): FrameFault | undefined {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    this.from = from
    this.to = to
    const length = to - from
    if (length < lightHeaderBytes || this.#view.getUint32(from + At.length) !== length) {
      return { _tag: "WrongLength", type: -1, length }
    }
    const rawType = this.#view.getUint16(from + At.type)
    const type = rawType & ~lightBit
    this.isLight = (rawType & lightBit) !== 0
    this.isRepeated = isRepeated
    this.type = type
    const spoken = this.#view.getUint16(from + At.version)
    if (spoken !== version) return { _tag: "WrongVersion", version: spoken }
    if (this.isLight) {
      return hasLightForm(type) ? this.#faultOfData() : { _tag: "NoLightForm", type }
    }
    if (length < headerBytes) return { _tag: "WrongLength", type, length }
    return (isRepeated ? undefined : this.#faultOfHeader()) ?? this.#faultOfData()
  }

  #faultOfHeader(): FrameFault | undefined {
    const { bytes, from } = this
    if (!isIdAt(bytes, from + At.sender)) return { _tag: "BadNodeId", field: "sender" }
    const primary = from + At.replicaOf
    if (!isIdAt(bytes, primary) && !isZero(bytes, primary, primary + idBytes)) {
      return { _tag: "BadNodeId", field: "replicaOf" }
    }
    return undefined
  }

  #faultOfData(): FrameFault | undefined {
    const { dataFrom, to, type } = this
    const exact = exactBytes[type]
    const wrongLength: FrameFault = { _tag: "WrongLength", type, length: to - this.from }
    if (exact !== undefined) {
      if (to - this.from !== exact) return wrongLength
      if (type === Type.fail && !isIdAt(this.bytes, dataFrom)) {
        return { _tag: "BadNodeId", field: "failed" }
      }
      if (type === Type.update && !isIdAt(this.bytes, dataFrom + 8)) {
        return { _tag: "BadNodeId", field: "updated" }
      }
      return undefined
    }
    if (isHeartbeat(type)) return this.#faultOfHeartbeat(wrongLength)
    if (!hasLightForm(type)) return undefined
    const prefix = type === Type.module ? modulePrefixBytes : publishLengthBytes
    if (to - dataFrom < prefix) return wrongLength
    // Neither sum can wrap: a number of JavaScript holds three times 2^32 exactly.
    const carried =
      type === Type.module
        ? this.#view.getUint32(dataFrom + 8)
        : this.#view.getUint32(dataFrom) + this.#view.getUint32(dataFrom + 4)
    return dataFrom + prefix + carried === to ? undefined : wrongLength
  }

  #faultOfHeartbeat(wrongLength: FrameFault): FrameFault | undefined {
    const { bytes, extensionCount: count, extensionsFrom, to } = this
    if (extensionsFrom > to) return wrongLength
    if (count === 0) return extensionsFrom === to ? undefined : wrongLength
    if ((this.messageFlags & MessageFlag.hasExtensions) === 0) {
      return { _tag: "UnannouncedExtensions", count }
    }
    return faultOfExtensions(bytes, this.#view, extensionsFrom, to, count, this.flags)
  }

  /** First byte behind the header. */
  get dataFrom(): number {
    return this.from + (this.isLight ? lightHeaderBytes : headerBytes)
  }

  /** First byte behind the gossip. */
  get extensionsFrom(): number {
    return this.from + headerBytes + this.gossipCount * gossipBytes
  }

  /** Port on which the sender serves clients. */
  get port(): number {
    return this.#view.getUint16(this.from + At.port)
  }

  /** Entries of gossip in PING, PONG and MEET. */
  get gossipCount(): number {
    return this.#view.getUint16(this.from + At.gossipCount)
  }

  get currentEpoch(): bigint {
    return this.#view.getBigUint64(this.from + At.currentEpoch)
  }

  /** The epoch of the sender's slots; that of its primary if it is a replica. */
  get configEpoch(): bigint {
    return this.#view.getBigUint64(this.from + At.configEpoch)
  }

  get replicationOffset(): bigint {
    return this.#view.getBigUint64(this.from + At.replicationOffset)
  }

  get sender(): string {
    return this.text(this.from + At.sender, this.from + At.sender + idBytes)
  }

  /** Whether the sender has this id, as bytes. */
  isFrom(id: Uint8Array): boolean {
    const at = this.from + At.sender
    return this.#buffer.compare(id, 0, idBytes, at, at + idBytes) === 0
  }

  /** The slots that the sender serves; those of its primary if it is a replica. */
  get slots(): Uint8Array {
    return this.bytes.subarray(this.from + At.slots, this.from + At.slots + slotBytes)
  }

  /** The sender's primary, if it is a replica. */
  get replicaOf(): string | undefined {
    const at = this.from + At.replicaOf
    return this.bytes[at] === 0 ? undefined : this.text(at, at + idBytes)
  }

  /** The sender's address; empty if it is that of the connection. */
  get ip(): string {
    return this.text(this.from + At.ip, this.from + At.ip + ipBytes)
  }

  get extensionCount(): number {
    return this.#view.getUint16(this.from + At.extensionCount)
  }

  /** The TLS port if `port` has none, and the reverse; 0 for none. */
  get otherPort(): number {
    return this.#view.getUint16(this.from + At.otherPort)
  }

  get busPort(): number {
    return this.#view.getUint16(this.from + At.busPort)
  }

  /** The sender's flags about itself; bits that are unknown here are kept. */
  get flags(): number {
    return this.#view.getUint16(this.from + At.flags)
  }

  /** Whether the sender sees the whole cluster work. */
  get isClusterOk(): boolean {
    return this.bytes[this.from + At.state] === 0
  }

  get messageFlags(): number {
    return this.bytes[this.from + At.messageFlags]!
  }

  /**
   * Whether every gossip entry names a node. Servers ignore the whole gossip of a frame in which
   * one does not, and still answer the frame.
   */
  get isGossipValid(): boolean {
    const end = this.extensionsFrom
    for (let at = this.dataFrom; at < end; at += gossipBytes) {
      if (!isIdAt(this.bytes, at + GossipAt.id)) return false
    }
    return true
  }

  gossip(index: number): GossipEntry {
    const at = this.dataFrom + index * gossipBytes
    const view = this.#view
    return {
      id: this.text(at, at + idBytes),
      pingSent: view.getUint32(at + GossipAt.pingSent),
      pongReceived: view.getUint32(at + GossipAt.pongReceived),
      ip: this.text(at + GossipAt.ip, at + GossipAt.ip + ipBytes),
      port: view.getUint16(at + GossipAt.port),
      busPort: view.getUint16(at + GossipAt.busPort),
      otherPort: view.getUint16(at + GossipAt.otherPort),
      flags: view.getUint16(at + GossipAt.flags)
    }
  }

  /** Bytes of the channel of PUBLISH and PUBLISHSHARD. */
  get channel(): Uint8Array {
    const at = this.dataFrom + publishLengthBytes
    return this.bytes.subarray(at, at + this.#view.getUint32(this.dataFrom))
  }

  /** The content of PUBLISH and PUBLISHSHARD. */
  get message(): Uint8Array {
    const at = this.dataFrom + publishLengthBytes + this.#view.getUint32(this.dataFrom)
    return this.bytes.subarray(at, this.to)
  }

  /** Integers and texts behind the header, for frames of the rarer types. */
  uint64(at: number): bigint {
    return this.#view.getBigUint64(at)
  }

  uint32(at: number): number {
    return this.#view.getUint32(at)
  }

  uint16(at: number): number {
    return this.#view.getUint16(at)
  }

  /** The text in `[from, to)`, up to its NUL. */
  text(from: number, to: number): string {
    return this.#buffer.toString("latin1", from, textEnd(this.bytes, from, to))
  }
}
