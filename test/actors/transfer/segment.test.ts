/**
 * Goal: what Mooncake says of its memory is what the engine uses, and the other way round.
 * Method: descriptors that Mooncake sent, and our own ones through Mooncake's text and back.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Directory from "../../../src/actors/rdma/Directory.ts"
import * as Segment from "../../../src/actors/rdma/Segment.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import { frameOf, success, vector, whole } from "../../schema/mooncake/vectors.ts"

const { text } = frameOf(vector("legacy.server.metadata reply"))
const read = (json: string) => success(SegmentDescriptor.decode(json))

describe("a segment", () => {
  it("of Mooncake tells its cards and its memory", () => {
    assert.deepStrictEqual(Segment.toDescription(read(text)), {
      nics: [{ path: "127.0.0.1:15101@fake0", gid: "00000000000000000000ffff0a000001", lid: 0 }],
      buffers: [{ name: "cpu:0", address: 140157304143872, length: 1048576, keys: [4096] }]
    } as unknown as Directory.Description)
  })

  /** The same, with three cards, and with this in place of what says which cards are near. */
  const three = (matrix: string) => {
    const [device] = /\{"gid":[^}]*\}/.exec(text)!
    const cards = [0, 1, 2].map((index) => device.replace("fake0", `fake${index}`))
    return text
      .replaceAll("[4096]", "[1,2,3]")
      .replace(device, cards.join())
      .replace('{"cpu:0":[["fake0"],[]]}', matrix)
  }
  const all = '["fake2","fake0","fake1"]'
  const matrices: ReadonlyArray<readonly [matrix: string, distances?: ReadonlyArray<number>]> = [
    ['{"cpu:0":[["fake1"],["fake0","fake2"]]}', [1, 0, 1]],
    ['{"cpu:0":[["fake2"],["fake2","fake0","fake0"]]}', [1, 2, 0]],
    ['{"cpu:0":[[],["fake2","nobody"]]}', [2, 2, 1]],
    [`{"cpu:0":[${all},[]]}`],
    [`{"cpu:0":[[],${all}]}`],
    ['{"cpu:0":[["nobody"],[]]}'],
    ['{"cpu:0":[[],[]]}'],
    ['{"cpu:1":[["fake1"],[]]}'],
    ["null"]
  ]
  for (const [matrix, distances] of matrices) {
    it.effect(`R24: of Mooncake with ${matrix} says how near its cards are`, () =>
      Effect.gen(function* () {
        const said = Segment.toDescription(read(three(matrix)))
        const { buffers } = yield* Directory.check("peer", said)
        assert.deepStrictEqual(buffers[0]!.distances, distances)
      })
    )
  }

  it("R24: knows nothing of a place that is named like a part of all objects", () => {
    const odd = text.replaceAll("cpu:0", "constructor").replace('"constructor":[', '"x":[')
    assert.isUndefined(Segment.toDescription(read(odd)).buffers[0]!.distances)
  })

  it.effect("of Mooncake passes the checks", () =>
    Effect.forEach(
      whole.filter((one) => one.byMooncake && frameOf(one).type === FrameType.metadata),
      (one) => Directory.check("peer", Segment.toDescription(read(frameOf(one).text)))
    )
  )

  it("may name its cards by another server than itself", () => {
    const named = text.replace('"tcp_data_port"', '"rdma_server_name":"10.0.0.9:1","tcp_data_port"')
    assert.strictEqual(Segment.toDescription(read(named)).nics[0]!.path, "10.0.0.9:1@fake0")
  })

  it.effect("R31: leaves out memory whose address or end a number cannot hold", () =>
    Effect.gen(function* () {
      for (const address of ["18446744073708503040", "9007199254740991"]) {
        const wide = text.replace("140157304143872", address)
        const said = yield* Directory.check("peer", Segment.toDescription(read(wide)))
        assert.deepStrictEqual(said.buffers, [])
        assert.lengthOf(said.nics, 1)
      }
    })
  )

  it("of ours says the same in Mooncake's text", () => {
    const own: Directory.Description = {
      nics: [
        { path: "h:1@x", gid: "0000000000000000000000000a000001" as never, lid: 7 },
        { path: "h:1@y", gid: "0000000000000000000000000a000002" as never, lid: 0 }
      ],
      buffers: [{ name: "kv", address: 4096, length: 100, keys: [7, 8] }]
    }
    const said = SegmentDescriptor.encode(Segment.fromDescription("h:1", own))
    assert.deepStrictEqual(Segment.toDescription(read(said)), own)
  })

  it("R31: of ours tells what peers may do with its memory, and earlier versions do not", () => {
    const kv = { name: "kv", address: 4096, length: 100, keys: [7], epoch: "0000abcd.7" }
    const nic = { path: "h:1@x", gid: "0000000000000000000000000a000001" as never, lid: 7 }
    const all = ["remote-write", "remote-read", "remote-atomic"]
    const given = [[], ["remote-read"], ["remote-write", "remote-read"], all]
    const own = (access: ReadonlyArray<ReadonlyArray<string> | undefined>) =>
      ({
        nics: [nic],
        buffers: access.map((rights) => ({ ...kv, ...(rights && { access: rights }) })),
        epoch: "0000abcd.9"
      }) as unknown as Directory.Description
    const said = SegmentDescriptor.encode(Segment.fromDescription("h:1", own(given)))
    assert.deepStrictEqual(Segment.toDescription(read(said)), own(given))
    const told = '"access":[0,2,3,7]'
    assert.include(said, told)
    for (const odd of ["[0,2,3]", "5", "null", '[-1,8,1.5,"7"]']) {
      const text = said.replace(told, `"access":${odd}`)
      assert.deepStrictEqual(Segment.toDescription(read(text)), own(given.map(() => undefined)))
    }
    const without = said.replace(`,${told}`, "").replace(`${told},`, "")
    assert.notInclude(without, '"access"')
    assert.deepStrictEqual(Segment.toDescription(read(without)), own(given.map(() => undefined)))
  })

  it("T1: of ours tells its version and its registrations, and others may ignore them", () => {
    const kv = { name: "kv", address: 4096, length: 100, keys: [7] }
    const nic = { path: "h:1@x", gid: "0000000000000000000000000a000001" as never, lid: 7 }
    const own = {
      nics: [nic],
      buffers: [
        { ...kv, epoch: "0000abcd.7" },
        { ...kv, name: "other" }
      ],
      epoch: "0000abcd.9"
    } as unknown as Directory.Description
    const said = SegmentDescriptor.encode(Segment.fromDescription("h:1", own))
    assert.deepStrictEqual(Segment.toDescription(read(said)), own)
    const bare = { nics: [nic], buffers: [kv, { ...kv, name: "other" }] } as unknown
    const odd = [
      '{"epoch":"x","registrations":[7,8]}',
      '{"epoch":"0000abcd.9"}',
      '{"epoch":"0000abcd.9","registrations":[7]}',
      '{"epoch":"0000abcd.9","registrations":[7,8,9]}',
      "5",
      "null"
    ]
    for (const member of odd) {
      const text = said.replace(/"handfast":\{[^}]*\}/, `"handfast":${member}`)
      assert.notStrictEqual(text, said)
      assert.deepStrictEqual(Segment.toDescription(read(text)), bare)
    }
  })

  it("T1: of ours names the registrations of what it tells, and of nothing else", () => {
    const kv = { address: 4096, length: 100, keys: [7] }
    const told = ["a", "b"].map((name, index) =>
      Object.assign({ name, epoch: `0000abcd.${index + 7}` }, kv)
    )
    const untold = { ...kv, name: "local", keys: [], epoch: "0000abcd.6" }
    const own = { nics: [{ path: "h:1@x" }], buffers: [untold, ...told], epoch: "0000abcd.9" }
    const segment = Segment.fromDescription("h:1", own as unknown as Directory.Description)
    const said = Segment.toDescription(read(SegmentDescriptor.encode(segment)))
    assert.deepStrictEqual(said.buffers, told as unknown as Directory.Description["buffers"])
  })

  it("R31: of ours tells only of memory that is for others", () => {
    const shared = { name: "kv", address: 4096, length: 100, keys: [7] }
    const own = { nics: [{ path: "h:1@x" }], buffers: [{ ...shared, keys: [] }, shared] }
    const said = SegmentDescriptor.encode(Segment.fromDescription("h:1", own))
    assert.deepStrictEqual(Segment.toDescription(read(said)).buffers, [shared])
  })

  /** What Mooncake says of itself, without what only it uses: local keys and a time. */
  const plain = (json: string): string =>
    json
      .replace(/"lkey":\[[^\]]*\]/g, (keys) => keys.replace(/\d+/g, "0"))
      .replace(/,"timestamp":"[^"]*"/, "")

  it("R31: of ours is Mooncake's bytes for the same cards and memory", () => {
    for (const one of whole) {
      const { text: json, type } = frameOf(one)
      if (!one.byMooncake || type !== FrameType.metadata) continue
      const { name } = read(json)
      const ours = Segment.fromDescription(name, Segment.toDescription(read(json)))
      assert.strictEqual(SegmentDescriptor.encode(ours), plain(json))
    }
  })

  it("R31: of ours has one address and a key for each card, in the order of the cards", () => {
    const [device] = /\{"gid":[^}]*\}/.exec(text)!
    // As Mooncake writes it with two cards.
    const two = text
      .replaceAll("[4096]", "[4096,4097]")
      .replace(device, `${device},${device.replace("fake0", "fake1")}`)
      .replace('[["fake0"],[]]', '[["fake0","fake1"],[]]')
    const ours = Segment.fromDescription("127.0.0.1:15101", Segment.toDescription(read(two)))
    assert.strictEqual(SegmentDescriptor.encode(ours), plain(two))
  })
})
