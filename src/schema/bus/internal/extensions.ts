/**
 * Checks the extensions of a heartbeat, byte by byte stricter than servers do: some of them read a
 * length of 32 bits as 16, go on behind the end of the frame, or take a text without its end.
 */
import type { FrameFault } from "../Fault.ts"
import { ExtensionType, extensionHeaderBytes, idBytes, NodeFlag } from "../Layout.ts"
import { isIdAt, textEnd } from "./fields.ts"

/** Bytes of an extension with the secret of Redis 8. */
export const secretExtensionBytes = 48

/** Bytes of the longest extension with an IPv4 address. */
const longestIpv4Bytes = 24

/** The content of an extension. */
export type ExtensionKind = "text" | "forgotten" | "shard" | "port" | "secret" | "unknown"

const kinds: ReadonlyArray<ExtensionKind> = [
  "text",
  "text",
  "forgotten",
  "shard",
  "unknown",
  "text",
  "port",
  "port",
  "text"
]

/**
 * What an extension holds. Type 4 has two meanings: Valkey's is a short text and comes from senders
 * that take light frames; that of Redis 8 is a secret of 40 bytes, from senders that do not.
 */
export const kindOf = (
  bytes: Uint8Array,
  at: number,
  type: number,
  length: number,
  senderFlags: number
): ExtensionKind => {
  if (type !== ExtensionType.clientIpv4) return kinds[type] ?? "unknown"
  const isValkey = (senderFlags & NodeFlag.takesLightPublish) !== 0
  if (!isValkey) return length === secretExtensionBytes ? "secret" : "unknown"
  const data = at + extensionHeaderBytes
  const isText = textEnd(bytes, data, at + length) < at + length
  return isText && length <= longestIpv4Bytes ? "text" : "unknown"
}

const leastDataBytes: Readonly<Partial<Record<ExtensionKind, number>>> = {
  forgotten: idBytes + 8,
  shard: idBytes,
  port: 2
}

/** The fault in the data of one extension. */
const faultOfData = (
  bytes: Uint8Array,
  at: number,
  type: number,
  length: number,
  senderFlags: number
): FrameFault | undefined => {
  const kind = kindOf(bytes, at, type, length, senderFlags)
  const data = at + extensionHeaderBytes
  const isUnending = kind === "text" && textEnd(bytes, data, at + length) === at + length
  if (isUnending || length - extensionHeaderBytes < (leastDataBytes[kind] ?? 0)) {
    return { _tag: "BadExtension", type, length }
  }
  if ((kind === "forgotten" || kind === "shard") && !isIdAt(bytes, data)) {
    return { _tag: "BadNodeId", field: kind }
  }
  return undefined
}

/** The fault in `count` extensions, which must fill `[from, to)`. */
export const faultOfExtensions = (
  bytes: Uint8Array,
  view: DataView,
  from: number,
  to: number,
  count: number,
  senderFlags: number
): FrameFault | undefined => {
  let at = from
  for (let k = 0; k < count; k++) {
    if (to - at < extensionHeaderBytes) return { _tag: "BadExtension", type: -1, length: to - at }
    const length = view.getUint32(at)
    const type = view.getUint16(at + 4)
    if (length < extensionHeaderBytes || length % 8 !== 0 || length > to - at) {
      return { _tag: "BadExtension", type, length }
    }
    const fault = faultOfData(bytes, at, type, length, senderFlags)
    if (fault !== undefined) return fault
    at += length
  }
  return at === to ? undefined : { _tag: "BadExtension", type: -1, length: to - at }
}
