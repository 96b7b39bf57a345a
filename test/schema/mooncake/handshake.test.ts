/**
 * Goal: connection frames are read as Mooncake means them, and written with its bytes.
 * Method: every vector of both Mooncakes; bodies and messages that the Schemas generate.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import type { Gid } from "../../../src/schema/Gid.ts"
import * as Announcement from "../../../src/schema/mooncake/Announcement.ts"
import * as Body from "../../../src/schema/mooncake/Body.ts"
import { encode, FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as Handshake from "../../../src/schema/mooncake/Handshake.ts"
import * as RejectReason from "../../../src/schema/mooncake/RejectReason.ts"
import { failure, frameOf, hexOf, readerOf, success, vector, wellFormed, whole } from "./vectors.ts"

const runs = { arbitrary: { runs: 400 } }

const connections = whole.filter((vector) => frameOf(vector).type === FrameType.connection)
const written = connections.filter(({ byMooncake }) => byMooncake)

const bodyOf = (name: string): Body.Body => success(Body.decode(frameOf(vector(name)).text))
const call = (name: string) => success(Handshake.readCall(bodyOf(`${name} request`)))
const answer = (name: string) => success(Handshake.readAnswer(bodyOf(`${name} reply`)))

const meaningOf = (body: Body.Body, side: "c2s" | "s2c"): Handshake.Handshake =>
  side === "c2s" ? success(Handshake.readCall(body)) : success(Handshake.readAnswer(body))

describe("a body", () => {
  it("that Mooncake wrote has its members, and the same bytes when it is written again", () => {
    assert.isAtLeast(written.length, 50)
    for (const vector of written) {
      const frame = frameOf(vector)
      const body = success(Body.decode(frame.text))
      const members = JSON.parse(frame.text)
      if (members === null) assert.isNull(body)
      else {
        assert.deepStrictEqual(
          { ...body },
          {
            localNicPath: members.local_nic_path,
            localGid: members.local_gid,
            localLid: members.local_lid,
            peerNicPath: members.peer_nic_path,
            qpNums: members.qp_num,
            replyMsg: members.reply_msg,
            ...("ready_ack" in members && { readyAck: members.ready_ack }),
            ...("payload" in members && { payload: members.payload })
          }
        )
      }
      const again = encode({ ...frame, text: Body.encode(body) })
      assert.strictEqual(hexOf(again), vector.sent.hex, vector.name)
    }
  })

  it("that a script wrote in the ways of other writers is read like the plain one", () => {
    const plain = bodyOf("head.server.ready-ack request")!
    for (const how of ["spaces-no-newline", "trailing", "comment", "dup-key"]) {
      const { localNicPath, ...rest } = bodyOf(`head.server.${how} request`)!
      assert.match(localNicPath, /^127\.0\.0\.1:151\d\d@fake0$/)
      assert.deepStrictEqual({ ...rest, localNicPath: plain.localNicPath, readyAck: true }, plain)
    }
  })

  it("has a capability by the presence of its member, and acknowledges only by true", () => {
    const [number, nothing] = ["number", "null"].map((what) =>
      call(`legacy.server.ready-ack-${what}`)
    )
    for (const read of [number, nothing]) {
      assert.deepInclude(read, { _tag: "Request", readyAck: "capable" })
    }
    assert.strictEqual(call("head.server.ready-ack")._tag, "ReadyAck")
    const legacy = call("legacy.server.legacy-client")
    assert.deepInclude(legacy, { _tag: "Request", readyAck: "absent" })
  })

  it("may have a LID of more than 16 bits, which is cut, and a GID of single digits", () => {
    const read = call("legacy.server.short-gid")
    assert.deepInclude(read, {
      lid: 70000 & 0xffff,
      gid: "00000000000000000000ffff0a000003" as Gid
    })
  })

  it("escapes what is not ASCII, as Mooncake does", () => {
    const { sender } = call("legacy.server.escapes") as typeof Handshake.Request.Type
    assert.strictEqual(sender.nic, 'fé中"\\\n\t/')
    const text = Body.encode({ ...bodyOf("legacy.server.escapes request")!, payload: "😀\u007f\b" })
    assert.include(text, String.raw`@f\u00e9\u4e2d\"\\\n\t/"`)
    assert.include(text, `"payload":"${String.raw`\ud83d\ude00`}\u007f${String.raw`\b`}"`)
  })

  it("has a replacement for what is no text: broken UTF-8, or half a surrogate pair", () => {
    const bytes = encode({ type: FrameType.notify, framing: "typed", text: '"_"' })
    bytes[10] = 0xff
    assert.strictEqual(readerOf(bytes).frame?.text, '"\ufffd"')
    const text = Body.encode({ ...bodyOf("head.server.new-qpns request")!, payload: "\ud800x" })
    assert.include(text, String.raw`"payload":"\ufffdx"`)
  })

  it("has a payload that is text, whatever it was", () => {
    for (const [json, payload] of [
      ['"p"', "p"],
      ["5", ""],
      ["null", ""],
      ["{}", ""]
    ] as const) {
      assert.strictEqual(success(Body.decode(`{"payload":${json}}`))!.payload, payload)
    }
    assert.notProperty(success(Body.decode("{}")), "payload")
  })

  const members = `"local_nic_path":"a@b","peer_nic_path":"c@d","reply_msg":""`
  const qpNums = (json: string) =>
    Result.map(Body.decode(`{"qp_num":${json},${members}}`), (body) => body!.qpNums)

  it("has queue pair numbers in any form that Mooncake takes, and none in a scalar", () => {
    assert.deepStrictEqual(
      success(qpNums("[2.001e3,2002.9,4294967295,0]")),
      [2001, 2002, 4_294_967_295, 0]
    )
    assert.deepStrictEqual(success(qpNums('{"b":2,"a":1}')), [1, 2])
    for (const scalar of ["7", "null", '"7"', "true"]) {
      assert.deepStrictEqual(success(qpNums(scalar)), [])
    }
    for (const bad of ["[-1]", "[4294967296]", '["1"]', "[[]]", "[18446744073709551616]"]) {
      assert.strictEqual(failure(qpNums(bad))._tag, "Malformed")
    }
  })

  const bodies = Arbitrary.schema(Body.Body).pipe(Arbitrary.map(wellFormed))

  it.prop(
    "is what it was after its text and back",
    [bodies],
    ([body]) => {
      const again = success(Body.decode(Body.encode(body)))
      assert.deepStrictEqual(again && { ...again }, body && { ...body })
    },
    runs
  )
})

describe("a message", () => {
  it("has the parts that the vectors name", () => {
    assert.deepStrictEqual(call("head.client.modern-server.0"), {
      _tag: "Request",
      sender: { server: "127.0.0.1:15101", nic: "fake0" },
      receiver: { server: "127.0.0.1:15102", nic: "fake0" },
      gid: "00000000000000000000ffff0a000001" as Gid,
      lid: 0,
      qpNums: [673, 674],
      readyAck: "capable"
    })
    const reply = { _tag: "Reply", qpNums: [1003, 1004], readyAck: "absent" } as const
    assert.deepInclude(answer("head.client.legacy-server.0"), reply)
    assert.deepStrictEqual(answer("head.server.ready-ack"), { _tag: "AckReply" })
    assert.notProperty(call("head.server.no-gid"), "gid")
  })

  it("is written with the bytes of the Mooncake that wrote it", () => {
    const kinds = new Set<string>()
    for (const vector of written) {
      const frame = frameOf(vector)
      const message = meaningOf(success(Body.decode(frame.text)), vector.side)
      kinds.add(message._tag)
      const text = Body.encode(Handshake.toBody(message))
      assert.strictEqual(hexOf(encode({ ...frame, text })), vector.sent.hex, vector.name)
    }
    assert.deepStrictEqual(kinds, new Set(["Request", "ReadyAck", "Reply", "AckReply", "Rejected"]))
  })

  /** A text of our own that begins like a known reason is that reason. */
  const settled = (message: Handshake.Handshake): Handshake.Handshake =>
    message._tag === "Rejected"
      ? { ...message, reason: RejectReason.parse(RejectReason.print(message.reason)) }
      : message

  /** The bare `null` has no room for more. */
  const possible = (message: Handshake.Handshake): Handshake.Handshake =>
    message._tag === "Rejected" && message.reason._tag === "Unspecified"
      ? { _tag: "Rejected", reason: message.reason }
      : settled(message)

  const messages = Arbitrary.schema(Handshake.Handshake).pipe(
    Arbitrary.map((message) => possible(wellFormed(message)))
  )

  it.prop(
    "is what it was after its text and back",
    [messages],
    ([message]) => {
      const body = success(Body.decode(Body.encode(Handshake.toBody(message))))
      const side = ["Request", "ReadyAck", "Farewell"].includes(message._tag) ? "c2s" : "s2c"
      assert.deepStrictEqual(meaningOf(body, side), message)
      assert.isTrue(Schema.is(Handshake.Handshake)(message))
    },
    runs
  )
})

describe("what this library adds", () => {
  const epoch = "0123abcd.7" as Epoch
  const handfast = { epoch, peer: "ffffffff.12" as Epoch, mtu: 1024 } as const

  it("R6: leaves every other byte as it was, and Mooncake reads the same", () => {
    for (const vector of written) {
      const { text } = frameOf(vector)
      const body = success(Body.decode(text))
      if (body === null) continue
      const added = Body.encode({ ...body, handfast })
      const member = `"handfast":{"epoch":"0123abcd.7","mtu":1024,"peer":"ffffffff.12"},`
      assert.strictEqual(added.replace(member, ""), text, vector.name)
      assert.strictEqual(added.length, text.length + member.length)
      const { handfast: read, ...rest } = success(Body.decode(added))!
      assert.deepStrictEqual([read, { ...rest }], [handfast, { ...body }])
    }
  })

  it("R6: is not echoed by Mooncake, so its absence tells Mooncake from us", () => {
    for (const who of ["head", "legacy"]) {
      const request = `${who}.server.unknown-member request`
      assert.include(vector(request).sent.text, "x_effect")
      assert.notProperty(answer(`${who}.server.unknown-member`), "handfast")
    }
  })

  it("R6: carries instance and generation, so equal queue pair numbers hide no restart", () => {
    const request = call("head.client.modern-server.0")
    if (request._tag !== "Request") assert.fail(request._tag)
    const lives = ["aaaaaaaa.1", "aaaaaaaa.2", "bbbbbbbb.1"].map((epoch) =>
      Body.encode(Handshake.toBody({ ...request, handfast: { epoch: epoch as Epoch, mtu: 4096 } }))
    )
    assert.strictEqual(new Set(lives).size, 3)
  })

  it("R6: is absent when it cannot be read, and never a fault", () => {
    const { text } = frameOf(vector("head.client.modern-server.0 request"))
    const read = (json: string) =>
      success(Body.decode(text.replace("{", `{"${Announcement.key}":${json},`)))!.handfast
    const good = '{"epoch":"0123abcd.7","mtu":1024,"future":[1]}'
    assert.deepStrictEqual(read(good), { epoch, mtu: 1024 })
    const bad = [
      "null",
      "1",
      '"x"',
      "[]",
      "{}",
      '{"epoch":"0123abcd.7"}',
      '{"epoch":"0123abcd.7","mtu":1500}',
      '{"epoch":"0123abcd.7","mtu":"1024"}',
      '{"epoch":"0123ABCD.7","mtu":1024}',
      '{"epoch":{"a":1},"mtu":1024}',
      '{"epoch":"0123abcd.7","mtu":1024,"peer":null}',
      '{"epoch":"0123abcd.7","mtu":1024,"peer":"x"}',
      '{"epoch":"0123abcd.7","farewell":true}',
      '{"epoch":"0123abcd.7","peer":"ffffffff.12","farewell":1}',
      '{"__proto__":{"epoch":"0123abcd.7","mtu":1024}}'
    ]
    for (const json of bad) assert.isUndefined(read(json), json)
  })

  it("R19: says farewell as an acknowledgement of no queue pairs, which Mooncake rejects", () => {
    const paths = { sender: { server: "a:1", nic: "x" }, receiver: { server: "b:1", nic: "y" } }
    const parting = { epoch, peer: "ffffffff.12" as Epoch, farewell: true } as const
    const farewell: Handshake.Handshake = { _tag: "Farewell", ...paths, handfast: parting }
    const body = success(Body.decode(Body.encode(Handshake.toBody(farewell))))!
    assert.deepStrictEqual(success(Handshake.readCall(body)), farewell)
    const { handfast: _, ...known } = body
    const mooncakes = success(Handshake.readCall(known))
    assert.deepInclude(mooncakes, { _tag: "ReadyAck", qpNums: [] })
  })
})

describe("rejections", () => {
  it("R7: of head have a reason, both ways", () => {
    const reasons = [
      ["stale-ready-ack", "AckStale", ""],
      ["ack-unknown-peer", "AckUnconnected", ""],
      ["unknown-nic", "ReceiverNicUnknown", "nope"],
      ["bad-peer-path", "ReceiverPathInvalid", "nodelim"],
      ["empty-local-path", "EndpointUnavailable", "fake0 <- "],
      ["local-path-no-at", "SenderPathInvalid", "nodelim"],
      ["no-gid", "SenderNicUnknown", "127.0.0.1:15118@fake0"]
    ] as const
    for (const [name, _tag, detail] of reasons) {
      const rejected = answer(`head.server.${name}`)
      assert.deepStrictEqual(rejected, { _tag: "Rejected", reason: { _tag, detail } })
      const { text } = frameOf(vector(`head.server.${name} reply`))
      assert.strictEqual(Body.encode(Handshake.toBody(rejected)), text)
    }
  })

  it("R7: after the queue pairs were set up name the system's own error", () => {
    const text =
      "Failed to modify QP to RTR, check mtu, gid, peer lid, peer qp num: Invalid argument"
    const detail = "Invalid argument"
    assert.deepStrictEqual(RejectReason.parse(text), { _tag: "ReadyToReceiveFailed", detail })
    const body = bodyOf("head.server.new-qpns reply")!
    // Such a reply still has queue pair numbers; nobody may use them.
    const read = success(Handshake.readAnswer({ ...body, replyMsg: text }))
    assert.strictEqual(read._tag, "Rejected")
  })

  it("R7: of older peers are a bare null", () => {
    const names = connections.filter(({ sent }) => sent.text === "null\n").map(({ name }) => name)
    assert.isAbove(names.length, 5)
    for (const name of names) {
      const rejected = success(Handshake.readAnswer(bodyOf(name)))
      assert.deepStrictEqual(rejected, { _tag: "Rejected", reason: { _tag: "Unspecified" } })
      assert.strictEqual(Body.encode(Handshake.toBody(rejected)), "null\n")
    }
  })

  it("R7: answer a request that cannot be used with what Mooncake answers", () => {
    const refusal = (name: string) =>
      failure(Handshake.readCall(bodyOf(`head.server.${name} request`)))
    for (const name of ["bad-peer-path", "local-path-no-at"]) {
      const reason = refusal(name)
      const { text } = frameOf(vector(`head.server.${name} reply`))
      assert.strictEqual(Body.encode(Handshake.toBody({ _tag: "Rejected", reason })), text)
    }
    const gid = failure(Handshake.readCall(bodyOf("legacy.server.bad-gid request")))
    assert.strictEqual(RejectReason.print(gid), "Invalid peer GID: zz")
    const nothing = failure(Handshake.readCall(null))
    assert.strictEqual(RejectReason.print(nothing), "Invalid peer_nic_path in handshake: ")
    const long = { ...bodyOf("head.server.ready-ack request")!, peerNicPath: "x".repeat(1e6) }
    assert.isBelow(RejectReason.print(failure(Handshake.readCall(long))).length, 300)
  })

  it.prop("R7: keep every text, known or not", [Schema.String], ([text]) => {
    assert.strictEqual(RejectReason.print(RejectReason.parse(text)), text)
  })

  it.prop("R7: are what they were after their text", [RejectReason.RejectReason], ([reason]) => {
    const text = RejectReason.print(reason)
    const known = reason._tag !== "Other" || RejectReason.parse(text)._tag === "Other"
    if (known) assert.deepStrictEqual(RejectReason.parse(text), reason)
    assert.strictEqual(RejectReason.print(RejectReason.parse(text)), text)
  })
})

describe("a reply", () => {
  const good = bodyOf("head.client.modern-server.0 reply")!
  const fault = (change: object) => failure(Handshake.readAnswer({ ...good, ...change }))

  it("R8: without a GID or without queue pair numbers is a fault", () => {
    const missing = (change: object) => ({ ...fault(change) })
    const _tag = "ReplyIncomplete"
    assert.deepInclude(missing({ localGid: "" }), { _tag, missing: ["gid"] })
    assert.deepInclude(missing({ qpNums: [] }), { _tag, missing: ["qpNums"] })
    assert.deepInclude(missing({ localGid: "", qpNums: [] }), { _tag, missing: ["gid", "qpNums"] })
    const empty = { localGid: "", qpNums: [], localNicPath: "", peerNicPath: "" }
    assert.deepInclude(missing(empty), { _tag, missing: ["gid", "qpNums"] })
  })

  it("R8: that says nothing at all takes an acknowledgement and connects nobody", () => {
    for (const text of ["{}", '{"reply_msg":""}']) {
      const read = success(Handshake.readAnswer(success(Body.decode(text))))
      assert.deepStrictEqual(read, { _tag: "AckReply" })
    }
  })

  it("with a GID or paths that are none is a fault", () => {
    assert.strictEqual(fault({ localGid: "zz" })._tag, "BadGid")
    for (const path of ["", "nodelim", "@nic", "server@"]) {
      assert.strictEqual(fault({ localNicPath: path })._tag, "BadNicPath")
      assert.strictEqual(fault({ peerNicPath: path })._tag, "BadNicPath")
    }
  })
})
