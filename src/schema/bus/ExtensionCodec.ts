/** Extensions of a heartbeat as values, and as bytes. */

import { copyOf } from "../copyBytes.ts"
import type { FrameView } from "./FrameView.ts"
import { extensionHeaderBytes, ExtensionType, idBytes } from "./Layout.ts"
import type { Extension } from "./Message.ts"
import { kindOf, secretExtensionBytes } from "./internal/extensions.ts"

const textTags = {
  [ExtensionType.hostname]: "Hostname",
  [ExtensionType.humanName]: "HumanName",
  [ExtensionType.clientIpv4]: "ClientIpv4",
  [ExtensionType.clientIpv6]: "ClientIpv6",
  [ExtensionType.availabilityZone]: "AvailabilityZone"
} as const

const portTags = {
  [ExtensionType.clientPort]: "ClientPort",
  [ExtensionType.clientTlsPort]: "ClientTlsPort"
} as const

const types = {
  Hostname: ExtensionType.hostname,
  HumanName: ExtensionType.humanName,
  ClientIpv4: ExtensionType.clientIpv4,
  ClientIpv6: ExtensionType.clientIpv6,
  AvailabilityZone: ExtensionType.availabilityZone,
  ClientPort: ExtensionType.clientPort,
  ClientTlsPort: ExtensionType.clientTlsPort,
  ForgottenNode: ExtensionType.forgottenNode,
  ShardId: ExtensionType.shardId,
  InternalSecret: ExtensionType.clientIpv4
} as const

const readExtension = (frame: FrameView, at: number, length: number): Extension => {
  const type = frame.uint16(at + 4)
  const data = at + extensionHeaderBytes
  switch (kindOf(frame.bytes, at, type, length, frame.flags)) {
    case "text": {
      const _tag = textTags[type as keyof typeof textTags]
      return { _tag, text: frame.text(data, at + length) }
    }
    case "port":
      return { _tag: portTags[type as keyof typeof portTags], port: frame.uint16(data) }
    case "forgotten": {
      const id = frame.text(data, data + idBytes)
      return { _tag: "ForgottenNode", id, seconds: frame.uint64(data + idBytes) }
    }
    case "shard":
      return { _tag: "ShardId", id: frame.text(data, data + idBytes) }
    case "secret":
      return { _tag: "InternalSecret" }
    case "unknown":
      return { _tag: "UnknownExtension", type, data: copyOf(frame.bytes, data, at + length) }
  }
}

/** The extensions of a heartbeat that `FrameView.read` has taken. */
export const readExtensions = (frame: FrameView): ReadonlyArray<Extension> => {
  const extensions: Array<Extension> = []
  for (let at = frame.extensionsFrom; at < frame.to;) {
    const length = frame.uint32(at)
    extensions.push(readExtension(frame, at, length))
    at += length
  }
  return extensions
}

const aligned = (bytes: number): number => (bytes + 7) & ~7

/** Bytes of an extension, with its header and padding. */
export const extensionBytes = (extension: Extension): number => {
  switch (extension._tag) {
    case "ForgottenNode":
      return extensionHeaderBytes + idBytes + 8
    case "ShardId":
      return extensionHeaderBytes + idBytes
    case "InternalSecret":
      return secretExtensionBytes
    case "UnknownExtension":
      return extensionHeaderBytes + aligned(extension.data.length)
    case "ClientPort":
    case "ClientTlsPort":
      return 2 * extensionHeaderBytes
    default:
      return extensionHeaderBytes + aligned(extension.text.length + 1)
  }
}

/** Writes an extension over zeros, and returns the place behind it. */
export const writeExtension = (out: Buffer, at: number, extension: Extension): number => {
  const length = extensionBytes(extension)
  const isUnknown = extension._tag === "UnknownExtension"
  out.writeUInt32BE(length, at)
  out.writeUInt16BE(isUnknown ? extension.type : types[extension._tag], at + 4)
  const data = at + extensionHeaderBytes
  switch (extension._tag) {
    case "ForgottenNode":
      out.write(extension.id, data, "latin1")
      out.writeBigUInt64BE(extension.seconds, data + idBytes)
      break
    case "ShardId":
      out.write(extension.id, data, "latin1")
      break
    case "InternalSecret":
      break
    case "UnknownExtension":
      out.set(extension.data, data)
      break
    case "ClientPort":
    case "ClientTlsPort":
      out.writeUInt16BE(extension.port, data)
      break
    default:
      out.write(extension.text, data, "latin1")
  }
  return at + length
}
