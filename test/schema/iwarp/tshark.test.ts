/**
 * Goal: what we encode is what an independent reader sees.
 * Method: a conversation with every message in a fabricated capture; tshark's fields are compared
 * with ours one by one, every CRC must be good and nothing malformed.
 */
import { assert, it } from "@effect/vitest"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { FpduWriter, mulpdu, Outgoing } from "../../../src/schema/iwarp/FpduWriter.ts"
import * as IwarpDecoder from "../../../src/schema/iwarp/IwarpDecoder.ts"
import type { Message } from "../../../src/schema/iwarp/Message.ts"
import { encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import * as Mpa from "../../../src/schema/iwarp/Mpa.ts"
import * as Negotiation from "../../../src/schema/iwarp/Negotiation.ts"
import { Opcode, Segment, tagged, untagged } from "../../../src/schema/iwarp/Segment.ts"
import * as Terminate from "../../../src/schema/iwarp/Terminate.ts"
import { peer } from "../../peers.ts"
import { capture, type Chunk, fieldsOf, verdicts } from "./capture.ts"
import { bytesOfHex } from "./vectors.ts"

const crc = Crc32c.make()

const text = (value: string) => new TextEncoder().encode(value)

const startup = (): ReadonlyArray<Chunk> => {
  const wishes = { revision: 2, crc: true, ird: 8, ord: 4, peerToPeer: true } as const
  const request = Negotiation.request({ ...wishes, privateData: text("from a client") })
  const { reply } = Negotiation.respond(request, { ...wishes, privateData: text("from a server") })
  return [
    { from: "I", bytes: Mpa.encode(request) },
    { from: "O", bytes: Mpa.encode(reply) }
  ]
}

const to = 0x0123_4567_89ab_cdefn
const payload = bytesOfHex("000102030405060708090a0b0c")
const offender = tagged(new Segment(), Opcode.write, true, 0xdeadbe00, 1, 2, 99)
const unreceived = untagged(new Segment(), Opcode.send, true, 0, 0, 9, 0, 16)

const terminateOf = (cause: Terminate.Cause, segment?: Segment): Message => {
  const { code, ddpHeader, layer, segmentLength, type } = Terminate.decode(
    Terminate.encode(cause, segment)
  )!
  const attached = { ddpSegLen: segmentLength!, terminatedDdpHeader: ddpHeader! }
  const base = { _tag: "Terminate", msn: 1, layer, etype: type, code } as const
  return segment === undefined ? base : { ...base, ...attached }
}

const word = 0x8000_0001
const long = 0xfedc_ba98_7654_3210n
const target = { remoteStag: word, remoteTo: to }
const masks = { swapMask: 1n, compareMask: long }

const messages: ReadonlyArray<readonly ["I" | "O", Message]> = [
  ["I", { _tag: "Write", last: 1, stag: 1, to: 0n, payload: new Uint8Array(0) }],
  ["I", { _tag: "Write", last: 0, stag: word, to, payload }],
  ["I", { _tag: "Write", last: 1, stag: word, to: to + 13n, payload: payload.subarray(0, 2) }],
  ["I", { _tag: "Send", last: 0, solicited: 0, msn: 1, mo: 0, payload }],
  ["I", { _tag: "Send", last: 1, solicited: 0, msn: 1, mo: 13, payload }],
  ["O", { _tag: "Send", last: 1, solicited: 1, msn: 1, mo: 0, payload }],
  ["O", { _tag: "Send", last: 1, solicited: 0, invalidateStag: word, msn: 2, mo: 0, payload }],
  ["O", { _tag: "Send", last: 1, solicited: 1, invalidateStag: word, msn: 3, mo: 0, payload }],
  [
    "I",
    {
      _tag: "ReadRequest",
      msn: 1,
      sinkStag: word,
      sinkTo: to,
      readSize: 13,
      srcStag: 0x7fff_ffff,
      srcTo: long
    }
  ],
  ["O", { _tag: "ReadResponse", last: 1, stag: word, to, payload }],
  ["I", { _tag: "FetchAdd", msn: 2, requestId: 1, ...target, addData: long, addMask: 1n }],
  [
    "I",
    {
      _tag: "CompareSwap",
      msn: 3,
      requestId: word,
      ...target,
      ...masks,
      swapData: 0x55n,
      compareData: 0x44n
    }
  ],
  ["O", { _tag: "AtomicResponse", msn: 1, originalRequestId: word, originalValue: long }],
  ["I", { _tag: "Immediate", solicited: 0, msn: 2, payload: long }],
  ["I", { _tag: "Immediate", solicited: 1, msn: 3, payload: 1n }],
  ["O", terminateOf(Terminate.Cause.taggedInvalidStag, offender)],
  ["O", terminateOf(Terminate.Cause.noBuffer, unreceived)],
  ["O", terminateOf(Terminate.Cause.unexpectedOpcode, unreceived)],
  ["O", terminateOf(Terminate.Cause.crc)]
]

/** Our name of a field, and tshark's. What needs a condition comes below. */
const sameName = {
  ulpduLength: "iwarp_mpa.ulpdulength",
  crcField: "iwarp_mpa.crc_check",
  tagged: "iwarp_ddp.tagged_flag",
  last: "iwarp_ddp.last_flag",
  ddpVersion: "iwarp_ddp.dv",
  rdmapVersion: "iwarp_rdma.version",
  opcode: "iwarp_rdma.opcode",
  stag: "iwarp_ddp.stag",
  to: "iwarp_ddp.tagged_offset",
  qn: "iwarp_ddp.qn",
  msn: "iwarp_ddp.msn",
  mo: "iwarp_ddp.mo",
  invalidateStag: "iwarp_rdma.inval_stag",
  sinkStag: "iwarp_rdma.sinkstag",
  sinkTo: "iwarp_rdma.sinkto",
  readSize: "iwarp_rdma.rdmardsz",
  srcStag: "iwarp_rdma.srcstag",
  srcTo: "iwarp_rdma.srcto",
  aopcode: "iwarp_rdma.atomic.opcode",
  requestId: "iwarp_rdma.atomic.request_identifier",
  remoteStag: "iwarp_rdma.atomic.remote_stag",
  remoteTo: "iwarp_rdma.atomic.remote_tagged_offset",
  addData: "iwarp_rdma.atomic.add_data",
  addMask: "iwarp_rdma.atomic.add_mask",
  swapData: "iwarp_rdma.atomic.swap_data",
  swapMask: "iwarp_rdma.atomic.swap_mask",
  compareData: "iwarp_rdma.atomic.compare_data",
  compareMask: "iwarp_rdma.atomic.compare_mask",
  originalRequestId: "iwarp_rdma.atomic.original_request_identifier",
  originalValue: "iwarp_rdma.atomic.original_remote_data_value",
  layer: "iwarp_rdma.term_layer",
  M: "iwarp_rdma.term_hdrct_m",
  D: "iwarp_rdma.hdrct_d",
  R: "iwarp_rdma.hdrct_r",
  terminatedDdpHeader: "iwarp_rdma.term_ddp_h"
} as const

const perLayer = ["rdma", "ddp", "llp"].map((layer) => `iwarp_rdma.term_etype_${layer}`)
const codes = ["rdma", "ddp_tagged", "ddp_untagged", "llp"].map(
  (kind) => `iwarp_rdma.term_errcode_${kind}`
)
const startupNames = {
  M: "iwarp_mpa.marker_flag",
  C: "iwarp_mpa.crc_flag",
  R: "iwarp_mpa.rej_flag",
  rev: "iwarp_mpa.rev",
  pdLength: "iwarp_mpa.pdlength"
} as const
const keys = ["iwarp_mpa.key.req", "iwarp_mpa.key.rep"]

const segmentLength = "iwarp_rdma.term_ddp_seg_len"

const names = [
  ...Object.values(sameName),
  ...Object.values(startupNames),
  ...perLayer,
  ...codes,
  ...keys,
  segmentLength,
  "iwarp_mpa.pad",
  "data.data"
]

/** A value as a number where it is one, so that 0x0a, 10 and True are told by what they mean. */
const meaning = (value: unknown): unknown => {
  if (value === "True" || value === "False") return value === "True" ? 1n : 0n
  const isNumber = typeof value === "number" || /^(0x[0-9a-f]+|\d{1,20})$/.test(String(value))
  return isNumber ? BigInt(value as string) : value
}

peer("tshark", "tshark reads what we encode", () => {
  const chunks = [
    ...startup(),
    ...messages.map(([from, message]): Chunk => ({ from, bytes: encode(message, crc) }))
  ]
  const decoder = IwarpDecoder.make()
  const ours = chunks.map(({ from, bytes }) => {
    const [decoded] = decoder.decode(bytes, from === "I" ? "c2s" : "s2c")
    assert.isTrue(decoded!.ok)
    return decoded!.ok ? (decoded!.frame as Readonly<Record<string, unknown>>) : {}
  })
  const same = (frame: object, row: (name: string) => string, ours: string, theirs: string) => {
    const value: unknown = Reflect.get(frame, ours)
    if (value === undefined) return 0
    const label = `${ours} of ${JSON.stringify(frame)}`
    assert.strictEqual(meaning(row(theirs)), meaning(value), label)
    return 1
  }

  it("in every field of every message", () => {
    const rows = fieldsOf(capture("messages", chunks), names)
    assert.strictEqual(rows.length, chunks.length)
    let compared = 0
    rows.forEach((row, k) => {
      const frame = ours[k]!
      const table = k < 2 ? startupNames : sameName
      for (const [mine, theirs] of Object.entries(table)) compared += same(frame, row, mine, theirs)
      if (k < 2) {
        assert.strictEqual(Buffer.from(row(keys[k]!), "hex").toString(), frame["key"])
        return
      }
      const pad = row("iwarp_mpa.pad")
      assert.strictEqual(pad.length / 2, frame["pad"])
      if ((frame["opcode"] as number) < 8 && frame["payload"] !== undefined) {
        compared += 1
        assert.strictEqual(row("data.data"), frame["payload"])
      }
      if (frame["layer"] === undefined) return
      const layer = frame["layer"] as number
      const kind = layer === 0 ? 0 : layer === 2 ? 3 : (frame["etype"] as number)
      compared += same(frame, row, "etype", perLayer[layer]!)
      compared += same(frame, row, "code", codes[kind]!)
      // It shows this number as bytes.
      if (frame["M"] === 1)
        assert.strictEqual(Number(`0x${row(segmentLength)}`), frame["ddpSegLen"])
    })
    assert.isAbove(compared, 200)
  })

  it("with every CRC good and nothing malformed", () => {
    const { bad, good, malformed } = verdicts(capture("crc", chunks))
    assert.deepStrictEqual([good, bad, malformed], [messages.length, 0, ""])
  })

  it("and would see a bad CRC", () => {
    const broken = chunks.map(({ from, bytes }, k) => {
      const copy = bytes.slice()
      if (k === 3) copy[20]! ^= 1
      return { from, bytes: copy }
    })
    const { bad, good } = verdicts(capture("broken", broken))
    assert.deepStrictEqual([good, bad], [messages.length - 1, 1])
  })

  it("also from the writer's batches, cut into TCP segments without regard to FPDUs", () => {
    const writer = new FpduWriter({ crc, maximumUlpdu: mulpdu(1448) })
    const payload = Uint8Array.from({ length: 20_001 }, (_, k) => k * 7)
    const fields = { opcode: Opcode.write, tagged: true, stag: word, payload: [payload] }
    for (let count = 0; count < 3; count++) writer.put(Object.assign(new Outgoing(), fields))
    const stream = Buffer.concat(writer.take()!.parts)
    const cut: Array<Chunk> = []
    for (let at = 0; at < stream.length; at += 1448) {
      cut.push({ from: "I", bytes: stream.subarray(at, at + 1448) })
    }
    const { bad, good, malformed } = verdicts(capture("batch", [...startup(), ...cut]))
    const perMessage = Math.ceil(payload.length / 1428)
    assert.deepStrictEqual([good, bad, malformed], [3 * perMessage, 0, ""])
  })
})
