/**
 * Goal: every frame of the cluster bus is read as real servers mean it and written as they write
 * it, and what must be dropped is dropped with a reason.
 * Method: frames of real servers; malformed ones with what must become of them; each prefix and
 * each changed byte of a frame with every kind of content; values that the Schema generates.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { frameLength } from "../../../src/schema/bus/Framing.ts"
import { FrameView } from "../../../src/schema/bus/FrameView.ts"
import { MessageFlag, NodeFlag } from "../../../src/schema/bus/Layout.ts"
import { type Extension, type Gossip, Message } from "../../../src/schema/bus/Message.ts"
import { decode, encode, messageOf } from "../../../src/schema/bus/MessageCodec.ts"
import { slotRanges, slotsOf } from "../../../src/schema/bus/Slots.ts"
import { bytesOf, frame, frames, hexOf, malformed, type Vector } from "./vectors.ts"

const read = (bytes: Uint8Array): Message => Result.getOrThrow(decode(bytes))

const faultOf = (bytes: Uint8Array): string | undefined => {
  const result = decode(bytes)
  return Result.isFailure(result) ? result.failure._tag : undefined
}

const shown = Schema.encodeSync(Message)
const range = ([first, last]: readonly [number, number]) =>
  first === last ? `${first}` : `${first}-${last}`

/** The fields of a message under the names of the vectors. */
const fieldsOf = (message: Message): Record<string, unknown> => {
  const json = shown(message)
  const { header } = json
  return {
    ...(header !== undefined && {
      port: header.port,
      currentEpoch: header.currentEpoch.toString(),
      configEpoch: header.configEpoch.toString(),
      offset: header.replicationOffset.toString(),
      sender: header.sender,
      myslots: header.slots.map(range),
      replicaof: header.replicaOf ?? null,
      myip: header.ip,
      pport: header.otherPort,
      cport: header.busPort,
      flags: header.flags,
      state: header.isClusterOk ? 0 : 1,
      mflags: [header.messageFlags, 0, 0]
    }),
    ...("gossip" in json && { count: json.gossip.length, extensions: json.extensions.length }),
    ...(json._tag === "Fail" && { about: json.id }),
    ...("channel" in json && {
      channel: Buffer.from(json.channel, "hex").toString(),
      message: Buffer.from(json.message, "hex").toString()
    })
  }
}

interface ShownGossip {
  readonly nodename: string
  readonly ping_sent: number
  readonly pong_received: number
  readonly ip: string
  readonly port: number
  readonly cport: number
  readonly flags: number
  readonly pport: number
}

const gossipOf = (entry: ShownGossip): Gossip => ({
  id: entry.nodename,
  pingSent: entry.ping_sent,
  pongReceived: entry.pong_received,
  ip: entry.ip,
  port: entry.port,
  busPort: entry.cport,
  otherPort: entry.pport,
  flags: entry.flags
})

const extensionNames: Readonly<Record<string, string>> = {
  HOSTNAME: "Hostname",
  HUMAN_NODENAME: "HumanName",
  CLIENT_IPV4: "ClientIpv4",
  CLIENT_IPV6: "ClientIpv6",
  FORGOTTEN_NODE: "ForgottenNode",
  SHARDID: "ShardId"
}

interface ShownExtension {
  readonly name: string
  readonly value?: string
  readonly nodename?: string
  readonly ttl?: string
}

const extensionOf = ({ name, nodename, ttl, value }: ShownExtension): unknown => {
  const _tag = extensionNames[name]
  if (_tag === "ForgottenNode") return { _tag, id: nodename, seconds: BigInt(ttl!) }
  return _tag === "ShardId" ? { _tag, id: value } : { _tag, text: value }
}

const check = (message: Message, { expect }: Vector): void => {
  const fields = fieldsOf(message)
  for (const [field, value] of Object.entries(fields)) {
    if (field in expect) assert.deepStrictEqual(value, expect[field], field)
  }
  const gossip = expect["gossip"] as ReadonlyArray<ShownGossip> | undefined
  assert.deepEqual("gossip" in message ? message.gossip : undefined, gossip?.map(gossipOf))
  const extensions = expect["exts"] as ReadonlyArray<ShownExtension> | undefined
  const read = "extensions" in message ? message.extensions : undefined
  assert.deepEqual(read, extensions?.map(extensionOf) as Array<Extension> | undefined)
  const update = expect["update"] as { configEpoch: string; slots: Array<string> } | undefined
  if (message._tag === "Update") {
    assert.strictEqual(message.configEpoch.toString(), update!.configEpoch)
    assert.deepStrictEqual(slotRanges(message.slots).map(range), update!.slots)
  }
  const module = expect["module"] as { idRawHex: string; type: number; payload: string } | undefined
  if (message._tag === "Module") {
    assert.strictEqual(message.module.toString(16).padStart(16, "0"), module!.idRawHex)
    assert.strictEqual(message.type, module!.type)
    assert.strictEqual(Buffer.from(message.payload).toString(), module!.payload)
  }
}

describe("a frame of a real server", () => {
  it.each(frames)("is read with its fields and written as it was: $name", (vector) => {
    const bytes = bytesOf(vector.hex)
    assert.strictEqual(frameLength(bytes, 0, bytes.length), bytes.length)
    const message = read(bytes)
    check(message, vector)
    assert.isTrue(Schema.is(Message)(message))
    assert.strictEqual(hexOf(encode(message)), vector.hex)
  })

  it("comes in every type that there is", () => {
    const tags = new Set(frames.map(({ hex }) => read(bytesOf(hex))._tag))
    assert.strictEqual(tags.size, 11)
  })

  it("is refused in each of its prefixes", () => {
    for (const { hex } of frames) {
      const bytes = bytesOf(hex)
      for (let length = 0; length < bytes.length; length++) {
        assert.isTrue(Result.isFailure(decode(bytes.subarray(0, length))), `${length} bytes`)
      }
    }
  })

  it("is read in place, in the middle of other bytes and in shared memory", () => {
    const bytes = frame("valkey/PONG all six exts")
    const memory = new Uint8Array(new SharedArrayBuffer(bytes.length + 13))
    memory.fill(0xee)
    memory.set(bytes, 7)
    const view = new FrameView()
    assert.isUndefined(view.read(memory, 7, 7 + bytes.length))
    assert.deepStrictEqual(messageOf(view), read(bytes))
    assert.isTrue(view.isFrom(Buffer.from(view.sender)))
    assert.isFalse(view.isFrom(Buffer.from("0".repeat(40))))
  })
})

describe("a malformed frame", () => {
  const single = malformed.filter(({ name }) => !/two PINGs|13 byte partial|garbage/.test(name))

  it.each(single)("becomes what it must: $name", ({ hex, require }) => {
    const bytes = bytesOf(hex)
    const length = frameLength(bytes, 0, bytes.length)
    if (require.startsWith("close")) {
      // A light frame closes a link as its first, and a long one by the limit of the framer.
      const isLight = typeof length === "number" && (bytes[12]! & 0x80) !== 0
      const isLong = typeof length === "number" && length > bytes.length
      assert.isTrue(typeof length !== "number" || isLight || isLong)
    } else if (require.startsWith("drop")) {
      assert.strictEqual(length, bytes.length)
      assert.isDefined(faultOf(bytes))
    } else {
      assert.strictEqual(length, bytes.length)
      assert.isUndefined(faultOf(bytes))
    }
  })

  it("never throws, whichever byte of it is another one", () => {
    for (const name of ["valkey/PONG all six exts", "valkey/UPDATE", "valkey/MODULE"]) {
      const bytes = frame(name)
      for (let at = 0; at < bytes.length; at++) {
        const before = bytes[at]!
        for (const value of [0, 0x7f, 0xff, before ^ 1, before ^ 0x80]) {
          bytes[at] = value
          const result = decode(bytes)
          if (Result.isSuccess(result)) assert.isTrue(Schema.is(Message)(result.success))
        }
        bytes[at] = before
      }
    }
  })

  it("with a gossip entry that names no node is taken without its gossip", () => {
    const bytes = frame("redis7/PONG gossip>=3 with exts")
    bytes[2256 + 104] = 0x7a
    const message = read(bytes)
    assert.strictEqual(message._tag, "Pong")
    assert.deepStrictEqual("gossip" in message && message.gossip, [])
  })

  it.each([
    ["sender", 40],
    ["replicaOf", 2128]
  ] as const)("is dropped for a bad id: %s", (field, at) => {
    const bytes = frame("redis7/AUTH_REQUEST")
    bytes[at] = 0x47
    const result = decode(bytes)
    assert.deepEqual(Result.isFailure(result) && result.failure, { _tag: "BadNodeId", field })
  })
})

/** A PING with these extensions as they are, from a sender of these flags. */
const pingWith = (flags: number, ...extensions: ReadonlyArray<Uint8Array>): Uint8Array => {
  const ping = frame("redis7/MEET")
  const bytes = Buffer.concat([ping, ...extensions])
  bytes.writeUInt32BE(bytes.length, 4)
  bytes.writeUInt16BE(extensions.length, 2214)
  bytes.writeUInt16BE(flags, 2250)
  bytes[2253] = MessageFlag.hasExtensions
  return bytes
}

const extension = (type: number, data: Uint8Array | string, length?: number): Uint8Array => {
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(data as string, "latin1")])
  bytes.writeUInt32BE(length ?? bytes.length, 0)
  bytes.writeUInt16BE(type, 4)
  return bytes
}

const id = "0123456789abcdef0123456789abcdef01234567"
const valkey = NodeFlag.primary | NodeFlag.takesLightPublish

describe("extensions", () => {
  const extensionsOf = (bytes: Uint8Array) => {
    const message = read(bytes)
    return "extensions" in message ? message.extensions : assert.fail()
  }

  it.each([
    ["a length of 0", extension(0, "host.a\0\0", 0)],
    ["a length of 32 bits that fits in 16", extension(3, id, 0x1_0030)],
    ["a name without its end", extension(0, "12345678")],
    ["a shard id that is too short", extension(3, id.slice(0, 8))],
    ["a forgotten node without its time", extension(2, id)],
    ["a port without bytes", extension(6, "")],
    ["a TLS port without bytes", extension(7, "")],
    ["a zone without its end", extension(8, "12345678")],
    ["a shard id that is none", extension(3, "G".repeat(40))]
  ])("are refused for %s", (_what, bytes) => {
    assert.match(faultOf(pingWith(valkey, bytes)) ?? "", /^Bad(Extension|NodeId)$/)
  })

  it("are refused when more are declared than are there, or fewer", () => {
    const bytes = pingWith(valkey, extension(3, id))
    for (const count of [0, 2, 0xffff]) {
      new DataView(bytes.buffer, bytes.byteOffset).setUint16(2214, count)
      assert.isDefined(faultOf(bytes), `${count}`)
    }
  })

  it("are refused unless the frame announces them", () => {
    const bytes = pingWith(valkey, extension(3, id))
    bytes[2253] = 0
    assert.strictEqual(faultOf(bytes), "UnannouncedExtensions")
  })

  it("of later versions are read: ports and the zone", () => {
    const port = Uint8Array.of(0x18, 0xeb, 0, 0, 0, 0, 0, 0)
    const parts = [extension(6, port), extension(7, port), extension(8, "eu-1a\0\0\0")]
    const bytes = pingWith(valkey, ...parts)
    assert.deepStrictEqual(extensionsOf(bytes), [
      { _tag: "ClientPort", port: 6379 },
      { _tag: "ClientTlsPort", port: 6379 },
      { _tag: "AvailabilityZone", text: "eu-1a" }
    ])
    assert.strictEqual(hexOf(encode(read(bytes))), hexOf(bytes))
  })

  it("of an unknown type are kept as they are", () => {
    const bytes = pingWith(valkey, extension(99, "anything"))
    const data = Uint8Array.from(Buffer.from("anything"))
    assert.deepStrictEqual(extensionsOf(bytes), [{ _tag: "UnknownExtension", type: 99, data }])
    assert.strictEqual(hexOf(encode(read(bytes))), hexOf(bytes))
  })

  it("of type 4 are an address from Valkey, and a secret from Redis that is not kept", () => {
    const address = extension(4, "10.0.0.1\0\0\0\0\0\0\0\0")
    assert.deepStrictEqual(extensionsOf(pingWith(valkey, address)), [
      { _tag: "ClientIpv4", text: "10.0.0.1" }
    ])
    const bytes = pingWith(NodeFlag.primary, extension(4, "s".repeat(40)))
    assert.deepStrictEqual(extensionsOf(bytes), [{ _tag: "InternalSecret" }])
    assert.notInclude(Buffer.from(encode(read(bytes))).toString("latin1"), "sss")
  })

  it("of type 4 that are neither are ignored", () => {
    for (const [flags, data] of [
      [valkey, "1".repeat(24)],
      [valkey, "10.0.0.1".padEnd(40, "\0")],
      [valkey, "12345678"],
      [NodeFlag.primary, "10.0.0.1\0\0\0\0\0\0\0\0"]
    ] as const) {
      const [found] = extensionsOf(pingWith(flags, extension(4, data)))
      assert.strictEqual(found!._tag, "UnknownExtension", data)
    }
  })
})

describe("slots", () => {
  const slot = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 16_383 }))
  const cuts = Arbitrary.schema(Schema.Array(slot).check(Schema.isMaxLength(200)))

  it.prop("come back as the same ranges", [cuts], ([cuts]) => {
    const sorted = [...new Set(cuts)].toSorted((a, b) => a - b)
    const pairs = sorted.flatMap((first, k) => {
      const last = sorted[k + 1] ?? first
      // A gap of one slot at least, so that no two ranges are one.
      return k % 2 === 0 && last - first > 1 ? [[first, last - 2] as const] : []
    })
    assert.deepEqual(slotRanges(slotsOf(pairs)), pairs)
  })

  it.each([
    ["all", [[0, 16_383]]],
    ["none", []],
    ["the first", [[0, 0]]],
    ["the last", [[16_383, 16_383]]],
    ["two bytes", [[7, 8]]]
  ] as const)("come back at the edges: %s", (_what, pairs) => {
    assert.deepEqual(slotRanges(slotsOf(pairs)), [...pairs])
  })
})

/** The values that a frame can hold: bits that announce what follows, padding, types. */
const possible = (message: Message): Message => {
  const header = message.header && {
    ...message.header,
    slots: Uint8Array.from({ length: 2048 }, (_, k) => message.header!.slots[k] ?? 0),
    messageFlags: message.header.messageFlags | MessageFlag.hasExtensions
  }
  if (message._tag === "Update") {
    const slots = Uint8Array.from({ length: 2048 }, (_, k) => message.slots[k] ?? 0)
    return { ...message, header: header!, slots }
  }
  if (!("extensions" in message)) return { ...message, header } as Message
  const isValkey = (message.header.flags & NodeFlag.takesLightPublish) !== 0
  const extensions = message.extensions.flatMap((extension): ReadonlyArray<Extension> => {
    if (extension._tag === "InternalSecret") return isValkey ? [] : [extension]
    if (extension._tag === "ClientIpv4") {
      return isValkey ? [{ ...extension, text: extension.text.slice(0, 15) }] : []
    }
    if (extension._tag !== "UnknownExtension") return [extension]
    const data = new Uint8Array((extension.data.length + 7) & ~7)
    data.set(extension.data)
    return [{ ...extension, type: Math.max(9, extension.type), data }]
  })
  return { ...message, header: header!, extensions }
}

const messages = Arbitrary.schema(Message).pipe(Arbitrary.map(possible))
const seen = new Set<string>()

describe("a message", () => {
  it.prop(
    "is what it was after bytes and back, and after its shown form and back",
    [messages],
    ([message]) => {
      seen.add(message._tag)
      const bytes = encode(message)
      assert.strictEqual(frameLength(bytes, 0, bytes.length), bytes.length)
      assert.deepStrictEqual(read(bytes), message)
      assert.deepStrictEqual(Schema.decodeSync(Message)(shown(message)), message)
    },
    { arbitrary: { runs: 300 } }
  )

  it("was of every kind", () => assert.strictEqual(seen.size, 12))
})
