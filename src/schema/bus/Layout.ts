/**
 * The layout of cluster bus frames: sizes, offsets, and the numbers of types, flags and extensions.
 *
 * All integers are big endian, except for the id of a module, which is in the order of the sender's
 * machine. Offsets count from the first byte of a frame.
 */

/** `RCmb`, the first four bytes of every frame. */
export const signature = 0x5243_6d62

/** The version of the protocol that all servers speak. */
export const version = 1

/** Bytes of the header of a full frame: its sender's whole view of itself. */
export const headerBytes = 2256

/** Bytes of the header of a light frame, which leaves the sender to the link. */
export const lightHeaderBytes = 16

/** Bytes that tell which header a frame has and how long it is. */
export const prefixBytes = 14

/** The bit of a type that says that the frame has a light header. */
export const lightBit = 0x8000

export const idBytes = 40
export const ipBytes = 46
export const slotBytes = 2048
export const gossipBytes = 104
export const extensionHeaderBytes = 8

/** Types of frames. */
export const Type = {
  ping: 0,
  pong: 1,
  meet: 2,
  fail: 3,
  publish: 4,
  authRequest: 5,
  authAck: 6,
  update: 7,
  manualFailoverStart: 8,
  module: 9,
  publishShard: 10
} as const

/** Where the fields of a full header lie; both headers share the first four. */
export const At = {
  signature: 0,
  length: 4,
  version: 8,
  port: 10,
  type: 12,
  gossipCount: 14,
  currentEpoch: 16,
  configEpoch: 24,
  replicationOffset: 32,
  sender: 40,
  slots: 80,
  replicaOf: 2128,
  ip: 2168,
  extensionCount: 2214,
  otherPort: 2246,
  busPort: 2248,
  flags: 2250,
  state: 2252,
  messageFlags: 2253
} as const

/** Where the fields of a gossip entry lie, from its first byte. */
export const GossipAt = {
  id: 0,
  pingSent: 40,
  pongReceived: 44,
  ip: 48,
  port: 94,
  busPort: 96,
  flags: 98,
  otherPort: 100
} as const

/** Flags of a node, in a header about its sender and in gossip about another node. */
export const NodeFlag = {
  primary: 1,
  replica: 2,
  suspected: 4,
  failed: 8,
  myself: 16,
  handshake: 32,
  noAddress: 64,
  meet: 128,
  migratesTo: 256,
  noFailover: 512,
  takesExtensions: 1024,
  takesLightPublish: 2048,
  takesLightModule: 4096,
  primaryFailed: 8192
} as const

/** Flags of one message, in the first of three bytes; the other two are 0. */
export const MessageFlag = { paused: 1, forceAck: 2, hasExtensions: 4 } as const

/** Types of extensions of PING, PONG and MEET. To Redis 8, `clientIpv4` is another thing. */
export const ExtensionType = {
  hostname: 0,
  humanName: 1,
  forgottenNode: 2,
  shardId: 3,
  clientIpv4: 4,
  clientIpv6: 5,
  clientPort: 6,
  clientTlsPort: 7,
  availabilityZone: 8
} as const

/** Whether frames of this type carry gossip and extensions. */
export const isHeartbeat = (type: number): boolean => type <= Type.meet

/** Whether frames of this type may have a light header. */
export const hasLightForm = (type: number): boolean =>
  type === Type.publish || type === Type.publishShard || type === Type.module
