/**
 * Goal: descriptors of segments survive exactly, and only sound ones come through.
 * Method: the descriptors that Mooncake sent; generated ones; each way to be unsound.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { encode, FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as Notify from "../../../src/schema/mooncake/Notify.ts"
import * as Probe from "../../../src/schema/mooncake/Probe.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import { failure, frameOf, hexOf, success, vector, whole } from "./vectors.ts"

const ofType = (type: FrameType) =>
  whole.filter((vector) => vector.byMooncake && frameOf(vector).type === type)

const { text } = frameOf(vector("legacy.server.metadata reply"))

describe("a descriptor of a segment", () => {
  it("that Mooncake wrote is the same bytes when it is written again", () => {
    assert.isAbove(ofType(FrameType.metadata).length, 6)
    for (const vector of ofType(FrameType.metadata)) {
      const frame = frameOf(vector)
      const again = SegmentDescriptor.encode(success(SegmentDescriptor.decode(frame.text)))
      assert.strictEqual(hexOf(encode({ ...frame, text: again })), vector.sent.hex)
    }
  })

  it("has its parts", () => {
    assert.deepStrictEqual(success(SegmentDescriptor.decode(text)), {
      buffers: [
        {
          addr: 140157304143872n,
          length: 1048576n,
          lkey: [4096],
          name: "cpu:0",
          rkey: [4096]
        }
      ],
      devices: [{ gid: "00000000000000000000ffff0a000001", lid: 0, name: "fake0" }],
      name: "127.0.0.1:15101",
      priorityMatrix: { "cpu:0": [["fake0"], []] },
      protocol: "rdma",
      tcpDataPort: 0,
      tcpProtoVersion: 1,
      timestamp: "2026-11-20 07:06:17.030110"
    } as unknown as SegmentDescriptor.SegmentDescriptor)
  })

  it("keeps addresses beyond what a number holds", () => {
    for (const addr of ["9007199254740993", "18446744073708503040", "9999999999999999"]) {
      const wide = text.replace("140157304143872", addr)
      const read = success(SegmentDescriptor.decode(wide))
      assert.strictEqual(read.buffers[0]!.addr, BigInt(addr))
      assert.strictEqual(SegmentDescriptor.encode(read), wide)
    }
  })

  const exact = (bound: bigint) =>
    Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: bound }))

  it.prop(
    "is what it was after its text and back",
    [exact(2n ** 63n), exact(2n ** 63n), Schema.String],
    ([addr, length, place]) => {
      const read = success(SegmentDescriptor.decode(text))
      const name = place.toWellFormed()
      const buffers = [{ ...read.buffers[0]!, addr, length }]
      const descriptor = {
        ...read,
        buffers,
        rdmaServerName: `${name}.`,
        priorityMatrix: { [name]: [[name], [name, name]] as const }
      }
      const again = success(SegmentDescriptor.decode(SegmentDescriptor.encode(descriptor)))
      assert.deepStrictEqual(again, descriptor)
    }
  )

  it("may have no keys for others, no topology, and members that nobody knows", () => {
    const bare = text
      .replace('"rkey":[4096]', '"rkey":[]')
      .replace('{"cpu:0":[["fake0"],[]]}', "null")
    assert.strictEqual(SegmentDescriptor.encode(success(SegmentDescriptor.decode(bare))), bare)
    const more = text.replace("{", '{"future":{"a":[1]},')
    assert.strictEqual(SegmentDescriptor.encode(success(SegmentDescriptor.decode(more))), text)
  })

  it("R31: with keys or devices that do not match is a fault", () => {
    const device = '{"gid":"0:0:0:0:0:0:0:0:0:0:ff:ff:a:0:0:9","lid":0,"name":"fake1"}'
    const unsound = [
      text.replace('"rkey":[4096]', '"rkey":[4096,1]'),
      text.replace('"lkey":[4096]', '"lkey":[]'),
      text.replace('"lkey":[4096]', '"lkey":[1,2]').replace('"rkey":[4096]', '"rkey":[1,2]'),
      text.replace('"devices":[', `"devices":[${device},`),
      text.replace(/"devices":\[.*?\]/, '"devices":[]')
    ]
    for (const bad of unsound) {
      const fault = failure(SegmentDescriptor.decode(bad))
      assert.deepInclude({ ...fault }, { _tag: "Malformed", what: "segment" })
      assert.include(fault.message, "a local and a remote key for each device")
    }
  })

  it("R31: with memory that cannot be, or parts that are none, is a fault that says where", () => {
    const unsound = [
      ['"addr":140157304143872', '"addr":0', "memory"],
      ['"addr":140157304143872', '"addr":18446744073709551615', "64 bits"],
      ['"addr":140157304143872', '"addr":18446744073709551616', "addr"],
      ['"addr":140157304143872', '"addr":-1', "addr"],
      ['"addr":140157304143872', '"addr":1.5', "addr"],
      ['"addr":140157304143872', '"addr":"1"', "addr"],
      ['"length":1048576', '"length":0', "memory"],
      ['"lkey":[4096]', '"lkey":[4294967296]', "lkey"],
      ['"rkey":[4096]', '"rkey":{}', "rkey"],
      ['"name":"cpu:0"', '"name":""', "name"],
      ['"name":"fake0"', '"name":""', "name"],
      ['"lid":0', '"lid":4294967296', "lid"],
      ["ff:ff:0a", "ff:ff:zz", "gid"],
      ['[["fake0"],[]]', '[["fake0"]]', "cpu:0"],
      ['"protocol":"rdma"', '"protocol":"tcp"', "protocol"],
      ['"buffers":[{', '"buffers":[[],{', "buffers"]
    ] as const
    for (const [from, to, where] of unsound) {
      assert.include(text, from)
      const fault = failure(SegmentDescriptor.decode(text.replace(from, to)))
      assert.strictEqual(fault._tag, "Malformed")
      assert.include(fault.message, where, to)
    }
    for (const bad of ["null", "[]", "5", '"x"', "{}"]) {
      assert.strictEqual(failure(SegmentDescriptor.decode(bad))._tag, "Malformed")
    }
    assert.strictEqual(failure(SegmentDescriptor.decode("{"))._tag, "BadJson")
  })

  it("R31: tells a fault in few words, however long the text was", () => {
    const long = text.replace('"cpu:0":[["fake0"],[]]', `"${"x".repeat(1e6)}":7`)
    assert.isBelow(failure(SegmentDescriptor.decode(long)).message.length, 400)
  })
})

describe("notifies and probes", () => {
  it("that Mooncake wrote are the same bytes when they are written again", () => {
    for (const vector of [...ofType(FrameType.notify), ...ofType(FrameType.probe)]) {
      const frame = frameOf(vector)
      const text =
        frame.type === FrameType.notify
          ? Notify.encode(success(Notify.decode(frame.text)))
          : Probe.encode(success(Probe.decode(frame.text)))
      assert.strictEqual(hexOf(encode({ ...frame, text })), vector.sent.hex)
    }
  })

  it("have their parts, in both directions", () => {
    const { text } = frameOf(vector("head.server.notify request"))
    assert.deepStrictEqual(success(Notify.decode(text)), { name: "n1", message: "hello" })
    const notified = frameOf(vector("head.server.notify reply")).text
    assert.strictEqual(Notify.encode(Notify.taken), notified)
    assert.strictEqual(Probe.encode(Probe.alive), frameOf(vector("head.server.probe reply")).text)
    assert.strictEqual(Probe.encode({}), frameOf(vector("head.server.probe request")).text)
    assert.deepStrictEqual(success(Probe.decode('{"status":7}')), {})
  })

  it("that are none are faults", () => {
    for (const bad of ["[1]", "null", "5", '{"name":[]}', '{"name":"a","notify_msg":{}}']) {
      assert.strictEqual(failure(Notify.decode(bad))._tag, "Malformed", bad)
    }
    for (const bad of ["[]", "null", '"x"']) {
      assert.strictEqual(failure(Probe.decode(bad))._tag, "Malformed", bad)
    }
    assert.strictEqual(failure(Notify.decode("hello"))._tag, "BadJson")
    assert.strictEqual(failure(Probe.decode(""))._tag, "BadJson")
  })
})
