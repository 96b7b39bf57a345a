/**
 * Goal: `handfast decode iwarp` shows each frame with its fields, and writes it again.
 * Method: the vectors' conversations, frame by frame and run together; then the shipped command.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import type { DecodedFrame, FrameDecoder } from "../../../src/schema/FrameDecoder.ts"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import * as IwarpDecoder from "../../../src/schema/iwarp/IwarpDecoder.ts"
import { conversations, hexOf, bytesOfHex, type Vector, vectors } from "./vectors.ts"

const sides = { I: "c2s", O: "s2c" } as const

const check = (decoded: DecodedFrame, { fields, hex, name }: Vector): void => {
  assert.isTrue(decoded.ok, `${name}: ${JSON.stringify(decoded)}`)
  if (!decoded.ok) return
  for (const [field, value] of Object.entries(fields)) {
    assert.strictEqual(Reflect.get(decoded.frame, field), value, `${field} of ${name}`)
  }
  assert.strictEqual(decoded.bytes, hex.length / 2, name)
  if (fields["crcBad"] !== 1) assert.strictEqual(hexOf(decoded.encoded), hex, name)
}

const only = (decoder: FrameDecoder, hex: string): DecodedFrame => {
  const [frame, ...more] = decoder.decode(bytesOfHex(hex), undefined)
  assert.deepStrictEqual(more, [])
  return frame!
}

describe("the decoder", () => {
  it("shows every vector with its fields, whether or not the side is known", () => {
    for (const known of [true, false]) {
      for (const [, frames] of conversations) {
        const decoder = IwarpDecoder.make()
        for (const frame of frames) {
          const direction = known ? sides[frame.dir] : undefined
          const [decoded, ...more] = decoder.decode(bytesOfHex(frame.hex), direction)
          assert.strictEqual(more.length, 0)
          check(decoded!, frame)
        }
      }
    }
  })

  it("finds the frames that one line runs together, start-up frame included", () => {
    for (const [, frames] of conversations) {
      const decoder = IwarpDecoder.make()
      // What the reply settles must be known before the FPDUs of either side.
      for (const part of [frames.slice(0, 2), frames.slice(2)]) {
        for (const dir of ["I", "O"] as const) {
          const own = part.filter((frame) => frame.dir === dir)
          const line = bytesOfHex(own.map(({ hex }) => hex).join(""))
          const decoded = [...decoder.decode(line, sides[dir])]
          assert.strictEqual(decoded.length, own.length)
          own.forEach((frame, k) => check(decoded[k]!, frame))
        }
      }
    }
    const seen = vectors.siwObserved
    const reply = seen.mpa_reply_to_p2p_write_read_offer.reply
    const early = seen["send_after_accept_coalesced_with_reply"]!
    const [first, second] = IwarpDecoder.make().decode(bytesOfHex(reply + early), "s2c")
    assert.isTrue(first!.ok && second!.ok)
  })

  it("shows what Linux sends, whose Terminates are written the other way round", () => {
    const seen = vectors.siwObserved
    const decoder = IwarpDecoder.make()
    const shown = (hex: string) => {
      const decoded = only(decoder, hex)
      assert.isTrue(decoded.ok)
      return decoded.ok ? (decoded.frame as Record<string, unknown>) : {}
    }
    const write = shown(seen.terminate_write_bad_stag.hex)
    assert.deepInclude(write, { layer: 1, etype: 1, code: 0, order: "swapped", ddpSegLen: 64 })
    assert.deepInclude(write, { M: 1, D: 1, R: 0 })
    const read = shown(seen.terminate_read_bad_stag.hex)
    assert.deepInclude(read, { layer: 0, etype: 1, code: 0, order: "swapped", M: 1, D: 1, R: 1 })
    const opcode = shown(seen.terminate_unknown_opcode.hex)
    assert.deepInclude(opcode, { layer: 2, etype: 0, code: 6, order: "either" })
    const cause = "MPA: insufficient IRD, or RDMAP: unexpected opcode"
    assert.deepStrictEqual([write["cause"], opcode["cause"]], ["DDP: invalid STag", cause])
    assert.strictEqual(shown(seen["read_response_zero_length"]!)["opcode"], 2)
  })

  it("knows from the start-up frames who sends markers", () => {
    const decoder = IwarpDecoder.make()
    const [request, reply] = vectors.streams["v1_crc"]!.map(({ hex }) => bytesOfHex(hex))
    reply![16]! |= 0x80
    for (const frame of [request!, reply!]) assert.isTrue(only(decoder, hexOf(frame)).ok)
    const [withMarker, , plain] = vectors.rfc5044.map(({ hex }) => bytesOfHex(hex))
    const [first] = decoder.decode(withMarker!, "c2s")
    assert.isTrue(first!.ok && hexOf(first!.encoded) === hexOf(plain!) && first!.bytes === 52)
    const [second] = decoder.decode(plain!, "s2c")
    assert.isTrue(second!.ok && second!.bytes === 48)
  })

  it("says what is wrong, and goes on with the next line", () => {
    const decoder = IwarpDecoder.make()
    const error = (hex: string) => {
      const decoded = only(decoder, hex)
      return decoded.ok ? decoded.frame : decoded.error
    }
    const limit = 64768
    assert.deepStrictEqual(error("0022"), { _tag: "Incomplete", bytes: 2 })
    assert.deepStrictEqual(error(`0001${"00".repeat(20)}`), { _tag: "BadLength", length: 1, limit })
    assert.deepStrictEqual(error("4d504120494420526571"), { _tag: "Incomplete", bytes: 10 })
    assert.deepStrictEqual(error(`4d5041204944205265${"00".repeat(16)}`), {
      _tag: "WrongKey",
      expected: "request",
      at: 9
    })
    const unknown = bytesOfHex(vectors.streams["v2_nocrc"]![2]!.hex)
    unknown[3] = 0x4d
    assert.deepInclude(error(hexOf(unknown)), { _tag: "UnknownMessage", opcode: 13, qn: 0, msn: 1 })
    check(only(decoder, vectors.streams["v2_nocrc"]![2]!.hex), vectors.streams["v2_nocrc"]![2]!)
  })

  it("takes the wish of either side for an agreement on CRCs", () => {
    const [, reply, bad] = vectors.streams["v1_badcrc"]!.map(({ hex }) => bytesOfHex(hex))
    const request = bytesOfHex(vectors.streams["v1_badcrc"]![0]!.hex)
    for (const unwilling of [request, reply!]) {
      unwilling[16] = 0
      const decoder = IwarpDecoder.make()
      for (const frame of [request, reply!]) only(decoder, hexOf(frame))
      const decoded = only(decoder, hexOf(bad!))
      assert.isTrue(decoded.ok && "crcBad" in decoded.frame)
      unwilling[16] = 0x40
    }
  })

  it("assumes nothing about CRCs that were not settled", () => {
    const checked = vectors.streams["v1_crc"]![2]!
    const bare = vectors.streams["v2_nocrc"]![2]!
    const decoder = IwarpDecoder.make()
    for (const frame of [checked, bare, checked]) check(only(decoder, frame.hex), frame)
  })

  it("shows a bad CRC, and what a right one would be", () => {
    const decoder = IwarpDecoder.make()
    for (const { hex } of vectors.streams["v1_badcrc"]!.slice(0, 2)) only(decoder, hex)
    const bad = vectors.streams["v1_badcrc"]![2]!
    const decoded = only(decoder, bad.hex)
    check(decoded, bad)
    const right = decoded.ok ? decoded.encoded : new Uint8Array(4)
    const sum = new DataView(right.buffer).getUint32(right.length - 4, true)
    assert.strictEqual(sum, Crc32c.ofBytes(right.subarray(0, -4)))
  })
})

describe("handfast decode iwarp", () => {
  it("prints a line for each frame", () => {
    const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
    const frames = vectors.streams["v1_crc"]!
    const input = frames.map(({ dir, hex }) => `${sides[dir]} ${hex}\n`).join("")
    const { status, stdout } = spawnSync(process.execPath, [main, "decode", "iwarp"], {
      input,
      encoding: "utf8",
      timeout: 60_000
    })
    const lines = stdout.trim().split("\n")
    assert.deepStrictEqual([status, lines.length], [0, frames.length])
    lines.forEach((line, k) => {
      const { encoded, frame } = JSON.parse(line)
      assert.deepInclude(frame, frames[k]!.fields)
      assert.strictEqual(encoded, frames[k]!.hex)
    })
  })
})
