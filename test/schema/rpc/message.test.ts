/**
 * Goal: RPC-over-RDMA version 1 and ONC RPC are read and written byte for byte, and hostile bytes
 * get the answer that RFC 8166 demands.
 * Method: vectors that tshark and Linux agree with, every prefix of them, and random messages that
 * must come back as they were.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as RpcMessage from "../../../src/schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../src/schema/rpc/RpcRdmaMessage.ts"
import { XdrReader, XdrWriter } from "../../../src/schema/rpc/Xdr.ts"
import { bytesOf, frame, frames, hexOf, recorded } from "./vectors.ts"

const faultOf = (bytes: Uint8Array): string | undefined => {
  const read = RpcRdmaMessage.decode(bytes)
  return Result.isFailure(read) ? read.failure._tag : undefined
}

/** The frames that no receiver may take, and why. */
const hostile: Readonly<Record<string, string>> = {
  "rdma-msgp": "HeaderMalformed",
  "bad-proc": "HeaderMalformed",
  "xid-mismatch": "HeaderMalformed",
  "short-27": "HeaderTooShort",
  "read-list-runaway": "HeaderMalformed",
  "write-count-huge": "HeaderMalformed",
  "trailing-nomsg": "HeaderMalformed"
}
const wellFormed = frames.filter(({ name }) => !(name in hostile))

/** The fields of a segment, as the vectors list them. */
const fieldsOf = ({ handle, length, offset }: RpcRdmaMessage.ChunkSegment) => [
  handle,
  length,
  Number(offset)
]

describe("an RPC-over-RDMA message", () => {
  it.each(wellFormed)("is written as it was read: $name", ({ expect, hex }) => {
    const message = Result.getOrThrow(RpcRdmaMessage.decode(bytesOf(hex)))
    assert.strictEqual(hexOf(RpcRdmaMessage.encode(message)), hex)
    assert.strictEqual(message.xid, expect["rdma_xid"])
    assert.strictEqual(message.credits, expect["rdma_credit"])
    if (!("chunks" in message)) return
    const { reads, reply, writes } = message.chunks
    const shown = {
      reads: reads.map((segment) => [segment.position].concat(fieldsOf(segment))),
      writes: writes.map((chunk) => chunk.map(fieldsOf)),
      reply: reply?.map(fieldsOf) ?? null
    }
    assert.deepStrictEqual(shown, expect["chunks"] as typeof shown)
  })

  it.each(Object.entries(hostile))("%s is refused as %s", (name, fault) => {
    assert.strictEqual(faultOf(frame(name)), fault)
  })

  it.each(wellFormed)("is refused when a part of its header is missing: $name", ({ hex }) => {
    const bytes = bytesOf(hex)
    const message = Result.getOrThrow(RpcRdmaMessage.decode(bytes))
    const headerBytes = message._tag === "RdmaMsg" ? bytes.length - message.rpc.length + 4 : 0
    const end = message._tag === "RdmaMsg" ? headerBytes : bytes.length
    for (let length = 0; length < end; length++) {
      assert.isDefined(faultOf(bytes.slice(0, length)), `${length} bytes`)
    }
  })

  it("is refused for a position that is no multiple of four", () => {
    const { call } = recorded.find(({ name }) => name === "read-chunk-position-42-bad-rkey")!
    assert.strictEqual(faultOf(bytesOf(call)), "HeaderMalformed")
  })

  it("costs no memory for segments that it only announces", () => {
    for (const count of [2, 2 ** 28, 2 ** 32 - 1]) {
      const head = new XdrWriter().uint32(1).uint32(1).uint32(1).uint32(1)
      head.boolean(false).boolean(true).uint32(count).uint32(1).uint32(1).uint64(0n)
      assert.strictEqual(faultOf(head.boolean(false).boolean(false).bytes()), "HeaderMalformed")
    }
  })
})

describe("the answer to a header that cannot be read", () => {
  /** Where Linux goes its own way: it answers what RFC 8166 discards, and takes another XID. */
  const silent = ["short-27", "short-12"]
  const refused = ["short-28-no-body", "xid-mismatch", "NOMSG-no-chunks"]
  const alike = recorded.filter(
    ({ call, name }) =>
      faultOf(bytesOf(call)) !== undefined && ![...silent, ...refused].includes(name)
  )
  const answerTo = (call: string) => {
    const read = RpcRdmaMessage.decode(bytesOf(call))
    return Result.isFailure(read) ? RpcRdmaMessage.answerTo(read.failure, 64) : assert.fail()
  }

  it.each(alike)("is that of Linux: $name", ({ call, replies }) => {
    assert.deepStrictEqual([hexOf(RpcRdmaMessage.encode(answerTo(call)!))], replies)
  })

  it("is given in every way", () => {
    const names = ["vers-2", "bad-proc-9", "RDMA_MSGP", "write-count-2^30"]
    assert.includeMembers(
      alike.map(({ name }) => name),
      names
    )
  })

  it.each(refused)("is ERR_CHUNK where RFC 8166 says so and Linux does not: %s", (name) => {
    const { call } = recorded.find((exchange) => exchange.name === name)!
    assert.deepInclude(answerTo(call), { _tag: "RdmaErrChunk", credits: 64 })
  })

  it.each(silent)("is none to fewer bytes than a header has: %s", (name) => {
    const { call } = recorded.find((exchange) => exchange.name === name)!
    assert.isUndefined(answerTo(call))
  })
})

const none = { flavor: 0, body: new Uint8Array(0) }
const some = { flavor: 6, body: Uint8Array.of(1, 2, 3, 4, 5) }
const xid = 0xfedc_ba98

const rpcMessages: ReadonlyArray<RpcMessage.RpcMessage> = [
  {
    _tag: "Call",
    xid,
    program: 100_003,
    version: 4,
    procedure: 1,
    credential: some,
    verifier: none,
    args: Uint8Array.of(0, 0, 0, 7)
  },
  ...(
    [
      { _tag: "Success", results: Uint8Array.of(9, 8, 7, 6) },
      { _tag: "ProgramUnavailable" },
      { _tag: "ProgramMismatch", low: 3, high: 4 },
      { _tag: "ProcedureUnavailable" },
      { _tag: "GarbageArgs" },
      { _tag: "SystemError" }
    ] as const
  ).map((outcome) => ({ _tag: "Accepted", xid, verifier: some, outcome }) as const),
  { _tag: "Denied", xid, denial: { _tag: "RpcMismatch", low: 2, high: 2 } },
  { _tag: "Denied", xid, denial: { _tag: "AuthError", status: 5 } }
]

describe("an RPC message", () => {
  it("is read from each frame that holds a whole one, and written again", () => {
    let calls = 0
    for (const { expect, hex, name } of wellFormed) {
      const message = Result.getOrThrow(RpcRdmaMessage.decode(bytesOf(hex)))
      const rpc = expect["rpc"] as Readonly<Record<string, number>> | undefined
      if (message._tag !== "RdmaMsg" || rpc === undefined) continue
      const read = Result.getOrThrow(RpcMessage.decode(message.rpc))
      assert.strictEqual(hexOf(RpcMessage.encode(read)), hexOf(message.rpc), name)
      if (read._tag !== "Call") continue
      calls++
      const { procedure, program, version } = read
      assert.deepEqual([program, version, procedure], [rpc["prog"], rpc["vers"], rpc["proc"]], name)
    }
    assert.isAbove(calls, 4)
  })

  it.each(rpcMessages)("comes back as it was: %j", (message) => {
    const bytes = RpcMessage.encode(message)
    assert.deepStrictEqual(Result.getOrThrow(RpcMessage.decode(bytes)), message)
    const body = message._tag === "Call" ? 4 : 0
    const results = message._tag === "Accepted" && message.outcome._tag === "Success" ? 4 : 0
    for (let length = 0; length < bytes.length - body - results; length++) {
      const read = RpcMessage.decode(bytes.slice(0, length))
      assert.strictEqual(Result.isFailure(read) && read.failure._tag, "RpcMalformed", `${length}`)
    }
  })

  it("of another version is told apart, so that it can be denied", () => {
    const call = RpcMessage.encode(rpcMessages[0]!)
    call[11] = 3
    const read = RpcMessage.decode(call)
    assert.isTrue(Result.isFailure(read))
    if (Result.isFailure(read)) {
      assert.deepInclude(read.failure, { _tag: "UnknownRpcVersion", xid, version: 3 })
    }
  })

  it.each([
    ["a type", 7, 2],
    ["a reply status", 11, 2],
    ["an accept status", 23, 6]
  ])("is refused for %s that RFC 5531 does not know", (_what, at, value) => {
    const outcome = { _tag: "SystemError" } as const
    const bytes = RpcMessage.encode({ _tag: "Accepted", xid, verifier: none, outcome })
    bytes[at] = value
    assert.isTrue(Result.isFailure(RpcMessage.decode(bytes)))
  })

  it("holds a credential of 400 bytes and no longer one", () => {
    const call = rpcMessages[0] as RpcMessage.Call
    const credential = (bytes: number) => ({ flavor: 6, body: new Uint8Array(bytes) })
    const longest = RpcMessage.encode({ ...call, credential: credential(400) })
    assert.isTrue(Result.isSuccess(RpcMessage.decode(longest)))
    assert.throws(() => RpcMessage.encode({ ...call, credential: credential(401) }), RangeError)
    new DataView(longest.buffer, longest.byteOffset).setUint32(28, 401)
    assert.isTrue(Result.isFailure(RpcMessage.decode(longest)))
  })
})

describe("AUTH_SYS", () => {
  const claim = { stamp: 1, machine: "höst", uid: 1_000, gid: 100, gids: [4, 20] }

  it("is read from a call that tshark reads", () => {
    const message = Result.getOrThrow(RpcRdmaMessage.decode(frame("nfs3-null-call-authsys")))
    assert.strictEqual(message._tag, "RdmaMsg")
    const call = Result.getOrThrow(
      RpcMessage.decode(message._tag === "RdmaMsg" ? message.rpc : new Uint8Array(0))
    )
    const claimed = call._tag === "Call" ? RpcMessage.readAuthSys(call.credential) : undefined
    const expected = { stamp: 0x5ec0_ffee, machine: "host", uid: 1_000, gid: 1_000, gids: [] }
    assert.deepStrictEqual(claimed, expected)
  })

  it("comes back as it was, within its limits only", () => {
    assert.deepStrictEqual(RpcMessage.readAuthSys(RpcMessage.authSys(claim)), claim)
    const many = (count: number) => ({ ...claim, gids: Array.from({ length: count }, (_, k) => k) })
    assert.lengthOf(RpcMessage.readAuthSys(RpcMessage.authSys(many(16)))!.gids, 16)
    assert.throws(() => RpcMessage.authSys(many(17)), RangeError)
    assert.throws(() => RpcMessage.authSys({ ...claim, machine: "x".repeat(256) }), RangeError)
    const { body } = RpcMessage.authSys(claim)
    assert.isUndefined(RpcMessage.readAuthSys({ flavor: 0, body }))
    assert.isUndefined(RpcMessage.readAuthSys({ flavor: 1, body: body.slice(0, -4) }))
    const longer = Uint8Array.from([...body, 0, 0, 0, 0])
    assert.isUndefined(RpcMessage.readAuthSys({ flavor: 1, body: longer }))
  })
})

describe("XDR", () => {
  it("writes and reads items of every kind", () => {
    const writer = new XdrWriter()
      .uint32(2 ** 32 - 1)
      .uint64(2n ** 64n - 1n)
      .boolean(true)
    writer
      .opaque(Uint8Array.of(1, 2, 3, 4, 5))
      .fixed(Uint8Array.of(6))
      .string("é")
    const bytes = writer.uint32(0x8000_0000).raw(Uint8Array.of(7)).bytes()
    const reader = new XdrReader(bytes)
    assert.strictEqual(reader.uint32(), 2 ** 32 - 1)
    assert.strictEqual(reader.uint64(), 2n ** 64n - 1n)
    assert.isTrue(reader.boolean())
    assert.deepStrictEqual([...reader.opaque(5)], [1, 2, 3, 4, 5])
    assert.deepStrictEqual([...reader.fixed(1)], [6])
    assert.strictEqual(reader.string(2), "é")
    assert.strictEqual(reader.int32(), -(2 ** 31))
    assert.deepStrictEqual([...reader.rest()], [7])
    assert.strictEqual(reader.remaining, 0)
    assert.isFalse(reader.failed)
    assert.strictEqual(hexOf(bytes.slice(16, 28)), "000000050102030405000000")
  })

  it("keeps what it has written when it grows", () => {
    const writer = new XdrWriter()
    for (let word = 0; word < 1_000; word++) writer.uint32(word)
    const reader = new XdrReader(writer.bytes())
    for (let word = 0; word < 1_000; word++) assert.strictEqual(reader.uint32(), word)
  })

  it.each([
    ["a boolean of 2", (reader: XdrReader) => reader.boolean()],
    ["bytes beyond their limit", (reader: XdrReader) => reader.opaque(1)],
    ["a text beyond its limit", (reader: XdrReader) => reader.string(1)],
    ["more bytes than there are", (reader: XdrReader) => reader.fixed(13)]
  ])("fails for good at %s", (_what, read) => {
    const reader = new XdrReader(Uint8Array.of(0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 0, 1))
    read(reader)
    assert.isTrue(reader.failed)
    assert.strictEqual(reader.remaining, 0)
    assert.strictEqual(reader.uint32(), 0)
    assert.lengthOf(reader.opaque(9), 0)
    assert.lengthOf(reader.rest(), 0)
  })

  it("reads shared memory", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(8))
    shared.set([0, 0, 0, 2, 104, 105])
    assert.strictEqual(new XdrReader(shared).string(8), "hi")
  })
})
