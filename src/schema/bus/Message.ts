/**
 * Every frame of the cluster bus as a value with a Schema. The encoded side of the Schema is how
 * tools show them: slots as ranges, bytes as hex digits.
 *
 * `MessageCodec` turns them into bytes and back; `FrameView` reads frames in place.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { ipBytes } from "./Layout.ts"
import { slotCount, slotRanges, slotsOf } from "./Slots.ts"

const uint = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const Uint8 = uint(0xff)
const Uint16 = uint(0xffff)
const Uint32 = uint(0xffff_ffff)
const Uint64 = Schema.BigInt.check(
  Schema.isBetweenBigInt({ minimum: 0n, maximum: 0xffff_ffff_ffff_ffffn })
)
const Bytes = Schema.Uint8ArrayFromHex

/** The id of a node or of a shard. */
export const NodeId = Schema.String.check(Schema.isPattern(/^[0-9a-f]{40}$/))

/** A text without NUL in single bytes. */
const text = (maximum: number) =>
  Schema.String.check(Schema.isPattern(/^[^\0\u0100-\uffff]*$/), Schema.isMaxLength(maximum))

/** The longest text of an extension: servers take host names of up to 255 characters. */
const Text = text(0xffff)
const Ip = text(ipBytes)

const Slot = uint(slotCount - 1)

/** A set of slots as a bitmap of `slotBytes`, shown as ranges. */
const Slots = Schema.Array(Schema.Tuple([Slot, Slot])).pipe(
  Schema.decodeTo(
    Schema.Uint8Array,
    SchemaTransformation.transform({ decode: slotsOf, encode: slotRanges })
  )
)

/** The description of the sender in a full frame. */
export const Header = Schema.Struct({
  port: Uint16,
  currentEpoch: Uint64,
  configEpoch: Uint64,
  replicationOffset: Uint64,
  sender: NodeId,
  slots: Slots,
  replicaOf: Schema.UndefinedOr(NodeId),
  ip: Ip,
  otherPort: Uint16,
  busPort: Uint16,
  flags: Uint16,
  isClusterOk: Schema.Boolean,
  messageFlags: Uint8
})

export const Gossip = Schema.Struct({
  id: NodeId,
  pingSent: Uint32,
  pongReceived: Uint32,
  ip: Ip,
  port: Uint16,
  busPort: Uint16,
  otherPort: Uint16,
  flags: Uint16
})

/** An extension that carries a text or a port about the sender. */
const TextExtension = Schema.Struct({
  _tag: Schema.Literals(["Hostname", "HumanName", "ClientIpv4", "ClientIpv6", "AvailabilityZone"]),
  text: Text
})
const PortExtension = Schema.Struct({
  _tag: Schema.Literals(["ClientPort", "ClientTlsPort"]),
  port: Uint16
})

/**
 * What a PING, PONG or MEET says beside its header. `InternalSecret` is the secret of a Redis 8
 * cluster: it is neither kept nor shown, and written as zeros.
 */
export const Extension = Schema.Union([
  TextExtension,
  PortExtension,
  Schema.TaggedStruct("ForgottenNode", { id: NodeId, seconds: Uint64 }),
  Schema.TaggedStruct("ShardId", { id: NodeId }),
  Schema.TaggedStruct("InternalSecret", {}),
  Schema.TaggedStruct("UnknownExtension", { type: Uint16, data: Bytes })
])

const heartbeat = {
  header: Header,
  gossip: Schema.Array(Gossip).check(Schema.isMaxLength(0xffff)),
  extensions: Schema.Array(Extension).check(Schema.isMaxLength(0xffff))
}

/** Messages that may have a light header have none of these. */
const LightHeader = Schema.UndefinedOr(Header)
const published = { header: LightHeader, channel: Bytes, message: Bytes }

export const Message = Schema.Union([
  Schema.TaggedStruct("Ping", heartbeat),
  Schema.TaggedStruct("Pong", heartbeat),
  Schema.TaggedStruct("Meet", heartbeat),
  Schema.TaggedStruct("Fail", { header: Header, id: NodeId }),
  Schema.TaggedStruct("Publish", published),
  Schema.TaggedStruct("AuthRequest", { header: Header }),
  Schema.TaggedStruct("AuthAck", { header: Header }),
  Schema.TaggedStruct("Update", { header: Header, configEpoch: Uint64, id: NodeId, slots: Slots }),
  Schema.TaggedStruct("ManualFailoverStart", { header: Header }),
  Schema.TaggedStruct("Module", {
    header: LightHeader,
    // As its eight bytes are on the wire: their order is that of the sender's machine.
    module: Uint64,
    type: Uint8,
    payload: Bytes
  }),
  Schema.TaggedStruct("PublishShard", published),
  Schema.TaggedStruct("Unknown", {
    header: Header,
    type: Schema.Int.check(Schema.isBetween({ minimum: 11, maximum: 0x7fff })),
    data: Bytes
  })
])

export type Header = typeof Header.Type
export type Gossip = typeof Gossip.Type
export type Extension = typeof Extension.Type
export type Message = typeof Message.Type
