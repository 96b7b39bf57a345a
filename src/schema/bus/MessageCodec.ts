/**
 * Messages as bytes, one frame each. Values that are read hold memory of their own.
 *
 * What runs for each frame of a link reads `FrameView` in place instead.
 */

import assert from "node:assert/strict"
import * as Result from "effect/Result"
import { copyOf } from "../copyBytes.ts"
import type { BusFault } from "./Fault.ts"
import { frameLength } from "./Framing.ts"
import { FrameView } from "./FrameView.ts"
import { extensionBytes, readExtensions, writeExtension } from "./ExtensionCodec.ts"
import {
  At,
  gossipBytes,
  GossipAt,
  headerBytes,
  idBytes,
  lightBit,
  lightHeaderBytes,
  signature,
  slotBytes,
  Type,
  version
} from "./Layout.ts"
import type { Extension, Gossip, Header, Message } from "./Message.ts"

const types = {
  Ping: Type.ping,
  Pong: Type.pong,
  Meet: Type.meet,
  Fail: Type.fail,
  Publish: Type.publish,
  AuthRequest: Type.authRequest,
  AuthAck: Type.authAck,
  Update: Type.update,
  ManualFailoverStart: Type.manualFailoverStart,
  Module: Type.module,
  PublishShard: Type.publishShard
} as const

const owned = (bytes: Uint8Array): Uint8Array => copyOf(bytes, 0, bytes.length)

const headerOf = (frame: FrameView): Header => ({
  port: frame.port,
  currentEpoch: frame.currentEpoch,
  configEpoch: frame.configEpoch,
  replicationOffset: frame.replicationOffset,
  sender: frame.sender,
  slots: owned(frame.slots),
  replicaOf: frame.replicaOf,
  ip: frame.ip,
  otherPort: frame.otherPort,
  busPort: frame.busPort,
  flags: frame.flags,
  isClusterOk: frame.isClusterOk,
  messageFlags: frame.messageFlags
})

const gossipOf = (frame: FrameView): ReadonlyArray<Gossip> =>
  frame.isGossipValid
    ? Array.from({ length: frame.gossipCount }, (_, index) => frame.gossip(index))
    : []

/** The message of a frame that `FrameView.read` has taken. */
export const messageOf = (frame: FrameView): Message => {
  const { bytes, dataFrom: at, to, type } = frame
  const header = frame.isLight ? undefined : headerOf(frame)
  if (type === Type.publish || type === Type.publishShard) {
    const _tag = type === Type.publish ? "Publish" : "PublishShard"
    return { _tag, header, channel: owned(frame.channel), message: owned(frame.message) }
  }
  if (type === Type.module) {
    const payload = copyOf(bytes, at + 13, to)
    return { _tag: "Module", header, module: frame.uint64(at), type: bytes[at + 12]!, payload }
  }
  return fullMessage(frame, header ?? headerOf(frame))
}

const fullMessage = (frame: FrameView, header: Header): Message => {
  const { dataFrom: at, to, type } = frame
  switch (type) {
    case Type.ping:
    case Type.pong:
    case Type.meet: {
      const _tag = type === Type.ping ? "Ping" : type === Type.pong ? "Pong" : "Meet"
      return { _tag, header, gossip: gossipOf(frame), extensions: readExtensions(frame) }
    }
    case Type.fail:
      return { _tag: "Fail", header, id: frame.text(at, at + idBytes) }
    case Type.authRequest:
      return { _tag: "AuthRequest", header }
    case Type.authAck:
      return { _tag: "AuthAck", header }
    case Type.update: {
      const id = frame.text(at + 8, at + 8 + idBytes)
      const slots = copyOf(frame.bytes, at + 8 + idBytes, to)
      return { _tag: "Update", header, configEpoch: frame.uint64(at), id, slots }
    }
    case Type.manualFailoverStart:
      return { _tag: "ManualFailoverStart", header }
    default:
      return { _tag: "Unknown", header, type, data: copyOf(frame.bytes, at, to) }
  }
}

/** Reads bytes that are one whole frame. */
export const decode = (bytes: Uint8Array): Result.Result<Message, BusFault> => {
  const length = frameLength(bytes, 0, bytes.length)
  if (typeof length !== "number") return Result.fail(length)
  const frame = new FrameView()
  const fault = frame.read(bytes, 0, bytes.length)
  return fault === undefined ? Result.succeed(messageOf(frame)) : Result.fail(fault)
}

const dataBytes = (message: Message): number => {
  switch (message._tag) {
    case "Ping":
    case "Pong":
    case "Meet": {
      const gossip = message.gossip.length * gossipBytes
      return message.extensions.reduce((sum, extension) => sum + extensionBytes(extension), gossip)
    }
    case "Fail":
      return idBytes
    case "Publish":
    case "PublishShard":
      return 8 + message.channel.length + message.message.length
    case "Update":
      return 8 + idBytes + slotBytes
    case "Module":
      return 13 + message.payload.length
    case "Unknown":
      return message.data.length
    default:
      return 0
  }
}

/** The bytes of a message. Without a header it gets the light one. */
export const encode = (message: Message): Uint8Array<ArrayBuffer> => {
  const { header } = message
  const at = header === undefined ? lightHeaderBytes : headerBytes
  const out = Buffer.alloc(at + dataBytes(message))
  const type = message._tag === "Unknown" ? message.type : types[message._tag]
  out.writeUInt32BE(signature, At.signature)
  out.writeUInt32BE(out.length, At.length)
  out.writeUInt16BE(version, At.version)
  out.writeUInt16BE(header === undefined ? type | lightBit : type, At.type)
  if (header !== undefined) writeHeader(out, header)
  writeData(out, at, message)
  return new Uint8Array(out.buffer, out.byteOffset, out.length)
}

const writeHeader = (out: Buffer, header: Header): void => {
  out.writeUInt16BE(header.port, At.port)
  out.writeBigUInt64BE(header.currentEpoch, At.currentEpoch)
  out.writeBigUInt64BE(header.configEpoch, At.configEpoch)
  out.writeBigUInt64BE(header.replicationOffset, At.replicationOffset)
  out.write(header.sender, At.sender, "latin1")
  assert.equal(header.slots.length, slotBytes)
  out.set(header.slots, At.slots)
  out.write(header.replicaOf ?? "", At.replicaOf, "latin1")
  out.write(header.ip, At.ip, "latin1")
  out.writeUInt16BE(header.otherPort, At.otherPort)
  out.writeUInt16BE(header.busPort, At.busPort)
  out.writeUInt16BE(header.flags, At.flags)
  out[At.state] = header.isClusterOk ? 0 : 1
  out[At.messageFlags] = header.messageFlags
}

const writeGossip = (out: Buffer, at: number, entry: Gossip): void => {
  out.write(entry.id, at + GossipAt.id, "latin1")
  out.writeUInt32BE(entry.pingSent, at + GossipAt.pingSent)
  out.writeUInt32BE(entry.pongReceived, at + GossipAt.pongReceived)
  out.write(entry.ip, at + GossipAt.ip, "latin1")
  out.writeUInt16BE(entry.port, at + GossipAt.port)
  out.writeUInt16BE(entry.busPort, at + GossipAt.busPort)
  out.writeUInt16BE(entry.flags, at + GossipAt.flags)
  out.writeUInt16BE(entry.otherPort, at + GossipAt.otherPort)
}

const writeHeartbeat = (
  out: Buffer,
  gossip: ReadonlyArray<Gossip>,
  extensions: ReadonlyArray<Extension>
): void => {
  out.writeUInt16BE(gossip.length, At.gossipCount)
  out.writeUInt16BE(extensions.length, At.extensionCount)
  let at = headerBytes
  for (const entry of gossip) {
    writeGossip(out, at, entry)
    at += gossipBytes
  }
  for (const extension of extensions) at = writeExtension(out, at, extension)
}

const writeData = (out: Buffer, at: number, message: Message): void => {
  switch (message._tag) {
    case "Ping":
    case "Pong":
    case "Meet":
      return writeHeartbeat(out, message.gossip, message.extensions)
    case "Fail":
      out.write(message.id, at, "latin1")
      return
    case "Publish":
    case "PublishShard":
      out.writeUInt32BE(message.channel.length, at)
      out.writeUInt32BE(message.message.length, at + 4)
      out.set(message.channel, at + 8)
      out.set(message.message, at + 8 + message.channel.length)
      return
    case "Update":
      out.writeBigUInt64BE(message.configEpoch, at)
      out.write(message.id, at + 8, "latin1")
      assert.equal(message.slots.length, slotBytes)
      out.set(message.slots, at + 8 + idBytes)
      return
    case "Module":
      out.writeBigUInt64BE(message.module, at)
      out.writeUInt32BE(message.payload.length, at + 8)
      out[at + 12] = message.type
      out.set(message.payload, at + 13)
      return
    case "Unknown":
      out.set(message.data, at)
  }
}
