/**
 * Goal: start-up frames are read and written to the byte, and what two of them settle is what
 * real peers settle.
 * Method: the vectors and Linux's own replies, split at every byte; tables of wishes and answers;
 * each field of a frame made wrong.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Mpa from "../../../src/schema/iwarp/Mpa.ts"
import * as Negotiation from "../../../src/schema/iwarp/Negotiation.ts"
import { conversations, hexOf, bytesOfHex, vectors } from "./vectors.ts"

const requestKey = "4d504120494420526571204672616d65"
const replyKey = "4d504120494420526570204672616d65"
const none = new Uint8Array(0)

const readerOf = (hex: string, kind: "request" | "reply" = "request") => {
  const reader = new Mpa.MpaReader(kind)
  const bytes = bytesOfHex(hex)
  return { reader, taken: reader.push(bytes, 0, bytes.length) }
}

const frameOf = (hex: string): Mpa.MpaFrame => {
  const { reader } = readerOf(hex, hex.startsWith(replyKey) ? "reply" : "request")
  assert.strictEqual(reader.fault, undefined)
  return reader.frame!
}

const all = [
  ...conversations.flatMap(([, frames]) => frames.filter(({ kind }) => kind === "mpa")),
  ...Object.values(vectors.siwObserved)
    .flatMap((seen) => (typeof seen === "object" && "reply" in seen ? [seen] : []))
    .flatMap(({ reply, request }) => [
      { hex: request, fields: {} },
      { hex: reply, fields: {} }
    ])
]

describe("start-up frames", () => {
  it("are read field by field and written again to the byte", () => {
    assert.isAtLeast(all.length, 20)
    for (const { fields, hex } of all) {
      const frame = frameOf(hex)
      assert.strictEqual(hexOf(Mpa.encode(frame)), hex)
      const { crc, enhanced, kind, markers, privateData, reject, revision } = frame
      const shown: Record<string, unknown> = {
        key: kind === "request" ? "MPA ID Req Frame" : "MPA ID Rep Frame",
        M: Number(markers),
        C: Number(crc),
        R: Number(reject),
        S: enhanced ? 1 : 0,
        rev: revision,
        pdLength: bytesOfHex(hex).length - 20,
        A: Number(enhanced?.peerToPeer),
        B: Number(enhanced?.readyBySend),
        Cflag: Number(enhanced?.readyByWrite),
        D: Number(enhanced?.readyByRead),
        ird: enhanced?.ird,
        ord: enhanced?.ord,
        privateData: hexOf(privateData)
      }
      for (const [name, value] of Object.entries(fields)) {
        assert.strictEqual(shown[name], value, `${name} of ${hex}`)
      }
    }
  })

  it("are read the same cut anywhere, and nothing behind them is taken", () => {
    for (const { hex } of all) {
      const kind = hex.startsWith(replyKey) ? "reply" : "request"
      const bytes = bytesOfHex(`${hex}0022`)
      const whole = frameOf(hex)
      for (let cut = 0; cut <= bytes.length; cut++) {
        const reader = new Mpa.MpaReader(kind)
        const first = reader.push(bytes, 0, cut)
        assert.strictEqual(first, Math.min(cut, bytes.length - 2))
        if (first === cut)
          assert.strictEqual(reader.push(bytes, cut, bytes.length), bytes.length - 2)
        assert.deepStrictEqual(reader.frame, whole)
      }
    }
  })

  it("with a wrong key are refused at the first wrong byte", () => {
    for (let at = 0; at < 16; at++) {
      const bytes = bytesOfHex(requestKey)
      bytes[at]! ^= 0x20
      const reader = new Mpa.MpaReader("request")
      reader.push(bytes, 0, at + 1)
      assert.deepStrictEqual(reader.fault, { _tag: "WrongKey", expected: "request", at })
    }
    assert.strictEqual(readerOf(`${replyKey}00010000`).reader.fault?._tag, "WrongKey")
  })

  it("with an unknown revision, or private data too long or too short, are refused", () => {
    const fault = (rest: string) => readerOf(requestKey + rest).reader.fault
    assert.deepStrictEqual(fault("00030000"), { _tag: "UnknownRevision", revision: 3 })
    const limit = 512
    assert.deepStrictEqual(fault("00020201"), { _tag: "PrivateDataTooLong", length: 513, limit })
    assert.deepStrictEqual(fault("10020003"), { _tag: "PrefixMissing", length: 3 })
    assert.strictEqual(fault("10010000"), undefined)
    assert.strictEqual(fault(`00020200${"aa".repeat(512)}`), undefined)
  })

  it("mean nothing by a reserved bit: R of a request, S before revision 2", () => {
    assert.isFalse(frameOf(`${requestKey}20020000`).reject)
    const old = frameOf(`${requestKey}10010004aabbccdd`)
    assert.deepStrictEqual([old.enhanced, hexOf(old.privateData)], [undefined, "aabbccdd"])
  })

  it("wait for a slow peer with what they have, however long it takes", () => {
    const { reader, taken } = readerOf(`${requestKey}00010004aabbcc`)
    assert.deepStrictEqual([reader.frame, reader.fault], [undefined, undefined])
    assert.deepStrictEqual([reader.received, taken], [23, 23])
  })

  it("cannot be written with more private data than MPA carries", () => {
    const frame = frameOf(`${requestKey}00010000`)
    assert.throws(() => Mpa.encode({ ...frame, privateData: new Uint8Array(513) }), RangeError)
    assert.throws(
      () => Mpa.encode({ ...frame, enhanced: enhanced({}), privateData: new Uint8Array(509) }),
      RangeError
    )
  })
})

const enhanced = (fields: Partial<Mpa.Enhanced>): Mpa.Enhanced => ({
  peerToPeer: false,
  readyBySend: false,
  readyByWrite: false,
  readyByRead: false,
  ird: 1,
  ord: 1,
  ...fields
})

const frame = (fields: Partial<Mpa.MpaFrame>): Mpa.MpaFrame => ({
  kind: "request",
  markers: false,
  crc: false,
  reject: false,
  revision: 2,
  enhanced: enhanced({}),
  privateData: none,
  ...fields
})

const wishes: Negotiation.LocalParams = {
  revision: 2,
  crc: true,
  ird: 1,
  ord: 1,
  peerToPeer: true,
  privateData: none
}

describe("the responder", () => {
  const respond = (request: Mpa.MpaFrame, wished: Partial<Negotiation.LocalParams> = {}) =>
    Negotiation.respond(request, { ...wishes, crc: false, ...wished })

  it("answers as Linux's software iWARP does", () => {
    const seen = vectors.siwObserved
    for (const { reply, request } of [
      seen.mpa_reply_to_p2p_write_read_offer,
      seen.mpa_reply_to_p2p_crc,
      seen.mpa_reply_to_read_rtr_only,
      seen.mpa_reply_rev1,
      seen.mpa_reply_markers_rejected
    ]) {
      const answer = respond(frameOf(request)).reply
      assert.strictEqual(hexOf(Mpa.encode(answer)), reply)
    }
  })

  it("turns CRCs on when either side wants them", () => {
    for (const [theirs, ours] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true]
    ] as const) {
      const { outcome, reply } = respond(frame({ crc: theirs }), { crc: ours })
      assert.strictEqual(reply.crc, theirs || ours)
      assert.isTrue(outcome._tag === "Settled" && outcome.crc === reply.crc)
    }
  })

  it("takes the smaller read limits, unless the peer leaves them open", () => {
    const limits = (ird: number, ord: number) => {
      const { outcome } = respond(frame({ enhanced: enhanced({ ird, ord }) }), { ird: 8, ord: 16 })
      return outcome._tag === "Settled" ? [outcome.ird, outcome.ord] : outcome._tag
    }
    assert.deepStrictEqual(limits(4, 2), [2, 4])
    assert.deepStrictEqual(limits(400, 200), [8, 16])
    assert.deepStrictEqual(limits(Mpa.unlimited, Mpa.unlimited), [8, 16])
    assert.deepStrictEqual(limits(0, 0), [0, 0])
  })

  it("picks one ready signal: Write, else Read if there is room for it, else Send", () => {
    const ready = (fields: Partial<Mpa.Enhanced>) => {
      const { outcome, reply } = respond(
        frame({ enhanced: enhanced({ peerToPeer: true, ...fields }) })
      )
      const { readyByRead, readyBySend, readyByWrite } = reply.enhanced!
      const picked = Number(readyBySend) + Number(readyByWrite) + Number(readyByRead)
      return outcome._tag === "Settled" ? [outcome.ready, picked] : [outcome._tag, picked]
    }
    const every = { readyBySend: true, readyByWrite: true, readyByRead: true }
    assert.deepStrictEqual(ready(every), ["write", 1])
    assert.deepStrictEqual(ready({ ...every, readyByWrite: false }), ["read", 1])
    assert.deepStrictEqual(ready({ ...every, readyByWrite: false, ord: 0 }), ["send", 1])
    assert.deepStrictEqual(ready({ readyByRead: true, ord: 0 }), ["NoMatchingReady", 0])
    assert.deepStrictEqual(ready({}), ["NoMatchingReady", 0])
  })

  it("refuses markers, and can refuse anything with private data", () => {
    const { outcome, reply } = respond(frame({ markers: true }))
    assert.strictEqual(outcome._tag, "MarkersWanted")
    assert.isTrue(reply.reject)
    const text = new TextEncoder().encode("no")
    const refusal = Negotiation.reject(frame({ crc: true }), text)
    assert.strictEqual(hexOf(Mpa.encode(refusal)), `${replyKey}70020006000000006e6f`)
  })
})

describe("the initiator", () => {
  const settle = (reply: Partial<Mpa.MpaFrame>, wished: Partial<Negotiation.LocalParams> = {}) =>
    Negotiation.settle(
      Negotiation.request({ ...wishes, ...wished }),
      frame({ kind: "reply", ...reply }),
      wishes
    )

  it("asks for what is known to work with Linux", () => {
    assert.strictEqual(
      hexOf(Mpa.encode(Negotiation.request(wishes))),
      vectors.siwObserved.mpa_reply_to_p2p_crc.request
    )
    const old = Negotiation.request({ ...wishes, revision: 1, crc: false })
    assert.strictEqual(hexOf(Mpa.encode(old)), vectors.siwObserved.mpa_reply_rev1.request)
  })

  it("settles on what the reply picked", () => {
    const picked = (fields: Partial<Mpa.Enhanced>) => {
      const outcome = settle({ enhanced: enhanced({ peerToPeer: true, ...fields }) })
      return outcome._tag === "Settled" ? outcome.ready : outcome._tag
    }
    assert.strictEqual(picked({ readyByWrite: true }), "write")
    assert.strictEqual(picked({ readyByRead: true }), "read")
    assert.strictEqual(picked({ readyBySend: true }), "NoMatchingReady")
    assert.strictEqual(picked({ readyByRead: true, ird: 0 }), "NoMatchingReady")
    assert.strictEqual(picked({ peerToPeer: false }), "message")
  })

  it("turns CRCs on when either side wants them", () => {
    const outcome = settle({ crc: true, enhanced: enhanced({}) }, { crc: false })
    assert.isTrue(outcome._tag === "Settled" && outcome.crc)
    const mine = settle({ crc: false, enhanced: enhanced({}) }, { crc: true })
    assert.isTrue(mine._tag === "Settled" && mine.crc)
  })

  it("has a Terminate for what it cannot agree to", () => {
    const terminate = (reply: Partial<Mpa.MpaFrame>) => {
      const outcome = settle(reply)
      if (!("terminate" in outcome)) return outcome._tag
      const { code, layer, type } = outcome.terminate
      return [outcome._tag, layer, type, code]
    }
    const greedy = enhanced({ peerToPeer: true, readyByWrite: true, ord: 2 })
    const mute = enhanced({ peerToPeer: true })
    assert.deepStrictEqual(terminate({ enhanced: greedy }), ["InsufficientIrd", 2, 0, 6])
    assert.deepStrictEqual(terminate({ enhanced: mute }), ["NoMatchingReady", 2, 0, 7])
    assert.deepStrictEqual(terminate({ markers: true }), ["MarkersWanted", 2, 0, 4])
    assert.strictEqual(terminate({ reject: true }), "Rejected")
  })

  it("takes read limits that the responder leaves open", () => {
    const open = { ird: Mpa.unlimited, ord: Mpa.unlimited }
    const outcome = settle({ enhanced: enhanced(open) }, { ird: 3, ord: 5 })
    assert.isTrue(outcome._tag === "Settled" && outcome.ird === 3 && outcome.ord === 5)
  })

  it("sends no reads to a peer that did not say how many it takes", () => {
    const outcome = settle({ revision: 1, enhanced: undefined })
    assert.isTrue(outcome._tag === "Settled" && outcome.ord === 0 && outcome.ready === "message")
    const old = settle({ revision: 2, enhanced: undefined }, { revision: 1 })
    assert.strictEqual(old._tag, "RevisionMismatch")
  })

  it("agrees with the responder, whatever the two want", () => {
    for (let bits = 0; bits < 32; bits++) {
      const has = (bit: number) => (bits & bit) !== 0
      const mine = { ...wishes, crc: has(1), peerToPeer: has(2), ord: has(4) ? 4 : 0, ird: 3 }
      const request = Negotiation.request(mine)
      const { outcome, reply } = Negotiation.respond(request, {
        ...wishes,
        crc: has(8),
        ird: has(16) ? 2 : 0,
        ord: 9
      })
      const other = Negotiation.settle(request, reply, mine)
      assert.strictEqual(outcome._tag, "Settled")
      assert.isTrue(
        outcome._tag === "Settled" &&
          other._tag === "Settled" &&
          outcome.crc === other.crc &&
          outcome.ready === other.ready &&
          other.ord <= outcome.ird &&
          outcome.ord <= other.ird
      )
    }
  })
})
