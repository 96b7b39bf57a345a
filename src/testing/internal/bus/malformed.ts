/**
 * Frames that are malformed or sent in unusual pieces, each made from a valid PING, and what a
 * receiver has to do with them. Servers are laxer with some of them; none of these harms a server.
 */
import {
  At,
  extensionHeaderBytes,
  gossipBytes,
  GossipAt,
  headerBytes,
  idBytes,
  lightBit,
  lightHeaderBytes,
  slotBytes,
  Type,
  version
} from "../../../schema/bus/Layout.ts"

/** A case: what is sent on a new link, before a valid PING that shows whether the link is kept. */
export interface Malformed {
  readonly name: string
  /** The bytes of the case, made from a valid PING of the sender; each piece is written alone. */
  readonly pieces: (ping: Uint8Array) => ReadonlyArray<Uint8Array>
  /** Whether the receiver has to end the link when this comes first on it. */
  readonly isClosed: boolean
  /** The same on a link whose sender is known, if that differs: a light frame may come there. */
  readonly isClosedLater?: boolean
  /** The number of PONGs that answer it, if the link is kept. */
  readonly pongs: number
}

type Change = (bytes: Buffer) => void

/** A frame with other data behind the header of a PING, and its length. */
const full = (ping: Uint8Array, type: number, data: Uint8Array, ...changes: Array<Change>) => {
  const bytes = Buffer.concat([ping.subarray(0, headerBytes), data])
  bytes.writeUInt32BE(bytes.length, At.length)
  bytes.writeUInt16BE(type, At.type)
  for (const change of changes) change(bytes)
  return bytes
}

const light = (type: number, data: Uint8Array, length = lightHeaderBytes + data.length) => {
  const bytes = Buffer.alloc(lightHeaderBytes)
  bytes.write("RCmb", "latin1")
  bytes.writeUInt32BE(length, At.length)
  bytes.writeUInt16BE(version, At.version)
  bytes.writeUInt16BE(type | lightBit, At.type)
  return Buffer.concat([bytes, data])
}

const none = Buffer.alloc(0)
const setLength =
  (length: number): Change =>
  (bytes) =>
    void bytes.writeUInt32BE(length, At.length)
const setUint16 =
  (at: number, value: number): Change =>
  (bytes) =>
    void bytes.writeUInt16BE(value, at)
const setByte =
  (at: number, value: number): Change =>
  (bytes) =>
    void (bytes[at] = value)
const gossipCount = (count: number) => setUint16(At.gossipCount, count)
const extensionCount = (count: number) => setUint16(At.extensionCount, count)
const withoutFlag = setByte(At.messageFlags, 0)

const oneEntry = (idByte: string): Buffer => {
  const bytes = Buffer.alloc(gossipBytes)
  bytes.write(idByte.repeat(idBytes), GossipAt.id, "latin1")
  bytes.write("127.0.0.1", GossipAt.ip, "latin1")
  bytes.writeUInt16BE(1, GossipAt.port)
  bytes.writeUInt16BE(1, GossipAt.busPort)
  bytes.writeUInt16BE(1, GossipAt.flags)
  return bytes
}

const publication = (channelBytes: number, messageBytes: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32BE(channelBytes, 0)
  bytes.writeUInt32BE(messageBytes, 4)
  return Buffer.concat([bytes, Buffer.from("chanmsg")])
}

const moduleData = (length: number): Buffer => {
  const bytes = Buffer.alloc(13)
  bytes.writeUInt32BE(length, 8)
  return bytes
}

const extension = (type: number, data: Uint8Array, length = extensionHeaderBytes + data.length) => {
  const bytes = Buffer.alloc(extensionHeaderBytes)
  bytes.writeUInt32BE(length, 0)
  bytes.writeUInt16BE(type, 4)
  return Buffer.concat([bytes, data])
}

const hostname = Buffer.from("h\0\0\0\0\0\0\0", "latin1")
const unterminated = Buffer.from("hhhhhhhh", "latin1")

type Make = (ping: Uint8Array) => ReadonlyArray<Uint8Array> | Uint8Array

const piecesOf =
  (make: Make): Malformed["pieces"] =>
  (ping) => {
    const made = make(ping)
    return made instanceof Uint8Array ? [made] : made
  }

/** The receiver has to end the link. */
const closing = (name: string, make: Make): Malformed => ({
  name,
  pieces: piecesOf(make),
  isClosed: true,
  pongs: 0
})

/** A light frame: it ends a link whose sender is not known, and is dropped or taken otherwise. */
const lightFirst = (name: string, make: Make): Malformed => ({
  ...closing(name, make),
  isClosedLater: false
})

/** Answered by so many PONGs: by none if it is dropped or ignored. */
const kept = (name: string, pongs: number, make: Make): Malformed => ({
  name,
  pieces: piecesOf(make),
  isClosed: false,
  pongs
})

const ping = Type.ping
const unhandled = { first: 11, last: 0x7fff }
const extended = (name: string, pongs: number, data: Uint8Array, ...changes: Array<Change>) =>
  kept(name, pongs, (from) => full(from, ping, data, extensionCount(1), ...changes))

const headers: ReadonlyArray<Malformed> = [
  kept("valid PING", 1, (from) => full(from, ping, none)),
  kept("valid PING sent in 1-byte pieces", 1, (from) =>
    Array.from(from, (_, k) => from.subarray(k, k + 1))
  ),
  kept("two PINGs in one write", 2, (from) => Buffer.concat([from, from])),
  kept("PING + 13 byte partial then rest", 2, (from) => [
    Buffer.concat([from, from.subarray(0, 13)]),
    from.subarray(13)
  ]),
  closing("PING + garbage", (from) => Buffer.concat([from, Buffer.alloc(21, "garbage")])),
  closing("bad signature (1st byte X)", (from) => full(from, ping, none, setByte(0, 0x58))),
  closing("bad signature (4th byte)", (from) => full(from, ping, none, setByte(3, 0x58))),
  closing("totlen 0", (from) => full(from, ping, none, setLength(0))),
  closing("totlen 15", (from) => full(from, ping, none, setLength(15))),
  closing("totlen 2255 (min-1)", (from) =>
    full(from, ping, none, setLength(headerBytes - 1)).subarray(0, headerBytes - 1)
  ),
  closing("MEET with tot 500MB header only", (from) =>
    full(from, ping, none, setLength(524_288_000))
  ),
  kept("PING totlen 2257 (1 extra byte)", 0, (from) => full(from, ping, Buffer.alloc(1))),
  kept("ver 0", 0, (from) => full(from, ping, none, setUint16(At.version, 0))),
  kept("ver 2", 0, (from) => full(from, ping, none, setUint16(At.version, 2))),
  kept("unknown type 11", 0, (from) => full(from, unhandled.first, none)),
  kept("unknown type 0x7fff", 0, (from) => full(from, unhandled.last, none)),
  kept("unsolicited PONG", 0, (from) => full(from, Type.pong, none)),
  kept("AUTH_REQUEST valid size 2256", 0, (from) =>
    full(from, Type.authRequest, none, withoutFlag)
  ),
  kept("AUTH_REQUEST +8 bytes", 0, (from) =>
    full(from, Type.authRequest, Buffer.alloc(8), withoutFlag)
  )
]

const lights: ReadonlyArray<Malformed> = [
  lightFirst("light PUBLISH 16+8+..", () =>
    light(Type.publish, Buffer.concat([publication(1, 1).subarray(0, 8), Buffer.from("cm")]))
  ),
  lightFirst("light PUBLISH totlen 16", () => light(Type.publish, none)),
  closing("light PUBLISH totlen 15", () => light(Type.publish, none, 15)),
  lightFirst("light MODULE (first on link)", () => light(Type.module, moduleData(0))),
  lightFirst("light PING (0x8000) totlen 2256", (from) => full(from, ping | lightBit, none)),
  lightFirst("light FAIL (0x8003) totlen 2296", (from) =>
    full(from, Type.fail | lightBit, Buffer.alloc(idBytes, "a"), withoutFlag)
  )
]

const data: ReadonlyArray<Malformed> = [
  kept("PING count=1 but no gossip bytes", 0, (from) => full(from, ping, none, gossipCount(1))),
  kept("PING count=0 with 1 gossip of bytes", 0, (from) => full(from, ping, oneEntry("a"))),
  kept("gossip with invalid node id (uppercase/nonhex)", 1, (from) =>
    full(from, ping, oneEntry("Z"), gossipCount(1))
  ),
  kept("PUBLISH channel_len+message_len mismatch", 0, (from) =>
    full(from, Type.publish, publication(99, 3), withoutFlag)
  ),
  kept("PUBLISH lens wrap 2^32", 0, (from) =>
    full(from, Type.publish, publication(0xffff_fff0, 0x17), withoutFlag)
  ),
  kept("PUBLISH valid from unknown", 0, (from) =>
    full(from, Type.publish, publication(4, 3), withoutFlag)
  ),
  kept("FAIL valid from unknown", 0, (from) =>
    full(from, Type.fail, Buffer.alloc(idBytes, "a"), withoutFlag)
  ),
  kept("FAIL 1 byte short", 0, (from) =>
    full(from, Type.fail, Buffer.alloc(idBytes - 1, "a"), withoutFlag)
  ),
  kept("UPDATE valid size from unknown", 0, (from) =>
    full(from, Type.update, Buffer.alloc(8 + idBytes + slotBytes), withoutFlag)
  ),
  kept("UPDATE short", 0, (from) =>
    full(from, Type.update, Buffer.alloc(8 + idBytes + slotBytes - 1), withoutFlag)
  ),
  kept("MODULE valid len 0 from unknown", 0, (from) =>
    full(from, Type.module, moduleData(0), withoutFlag)
  ),
  kept("MODULE len mismatch", 0, (from) => full(from, Type.module, moduleData(99), withoutFlag))
]

const extensions: ReadonlyArray<Malformed> = [
  extended("ext ok (hostname)", 1, extension(0, hostname)),
  extended("shardid ext", 1, extension(3, Buffer.alloc(idBytes, "b"))),
  extended("ext unknown type 99", 1, extension(99, hostname)),
  extended("EXTRA unknown ext type 99", 1, extension(99, Buffer.alloc(8))),
  kept("ext flag set, extensions=0", 1, (from) => full(from, ping, none)),
  extended("ext flag clear but ext bytes present", 0, extension(0, hostname), withoutFlag),
  extended("EXTRA extensions field 1, EXT flag clear, no bytes", 0, none, withoutFlag),
  extended("ext length 0", 0, extension(0, hostname, 0)),
  extended("EXTRA ext length 0", 0, extension(0, none, 0)),
  extended("ext length not multiple of 8", 0, extension(0, hostname, 12)),
  extended("ext length exceeds packet", 0, extension(0, hostname, 800)),
  extended("ext length 65536+16 (16-bit truncation probe)", 0, extension(0, hostname, 0x10010)),
  extended("ext count 2 but 1 present", 0, extension(0, hostname), extensionCount(2)),
  extended("hostname ext without NUL", 0, extension(0, Buffer.alloc(40, "h"))),
  extended("EXTRA hostname without NUL (8 bytes, none zero)", 0, extension(0, unterminated)),
  extended("EXTRA SHARDID ext of 16 (too short)", 0, extension(3, unterminated)),
  extended("EXTRA CLIENT_PORT ext of 8 (header only)", 0, extension(6, none))
]

export const malformed: ReadonlyArray<Malformed> = [...headers, ...lights, ...data, ...extensions]
