/**
 * Goal: `handfast decode mooncake` shows each frame with its fields, and writes it again.
 * Method: what was recorded, with and without its direction; then the shipped command.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import type { DecodedFrame, Direction } from "../../../src/schema/FrameDecoder.ts"
import * as MooncakeDecoder from "../../../src/schema/mooncake/MooncakeDecoder.ts"
import { hexOf, bytesOfHex, sent, vector, whole } from "./vectors.ts"

const shown = (decoded: DecodedFrame | undefined): Readonly<Record<string, unknown>> => {
  assert.isTrue(decoded?.ok)
  return decoded?.ok === true ? { ...decoded.frame } : {}
}

const first = (hex: string, direction?: Direction): DecodedFrame => {
  const [decoded, ...more] = MooncakeDecoder.make().decode(bytesOfHex(hex), direction)
  assert.deepStrictEqual(more, [])
  return decoded!
}

const error = (hex: string): object => {
  const decoded = first(hex)
  return decoded.ok ? decoded.frame : { ...decoded.error }
}

describe("the decoder", () => {
  it("shows whatever Mooncake wrote, and writes the same bytes", () => {
    for (const { byMooncake, name, sent, side } of whole) {
      for (const direction of [side, undefined]) {
        const decoded = first(sent.hex, direction)
        if (!byMooncake) continue
        shown(decoded)
        assert.isTrue(decoded.ok && decoded.bytes === sent.hex.length / 2, name)
        assert.strictEqual(decoded.ok && hexOf(decoded.encoded), sent.hex, name)
      }
    }
  })

  it("tells a reply from a request where nobody knows the side", () => {
    const known = MooncakeDecoder.make()
    const unknown = MooncakeDecoder.make()
    const tags = new Set<unknown>()
    for (const { byMooncake, name, sent, side } of whole) {
      const bytes = bytesOfHex(sent.hex)
      const [expected] = known.decode(bytes, side)
      const [guessed] = unknown.decode(bytes, undefined)
      // The request to this reply is not in the vectors as a whole.
      if (!byMooncake || name === "legacy.fault.max-length reply") continue
      assert.deepStrictEqual(shown(guessed), shown(expected), name)
      tags.add(shown(guessed)["_tag"])
    }
    const all = ["Request", "Reply", "ReadyAck", "AckReply", "Rejected"]
    assert.deepStrictEqual(tags, new Set([...all, "Metadata", "Notify", "Probe"]))
    const [request, reply] = sent.slice(0, 2).map(({ sent }) => sent.hex)
    const pair = [...MooncakeDecoder.make().decode(bytesOfHex(request! + reply!), undefined)]
    assert.deepStrictEqual(
      pair.map((decoded) => shown(decoded)["_tag"]),
      ["Request", "Reply"]
    )
  })

  it("shows the members as they came, with what is made of them", () => {
    const request = shown(first(vector("head.client.modern-server.0 request").sent.hex, "c2s"))
    assert.deepInclude(request, {
      _tag: "Request",
      framing: "typed",
      type: 0,
      localGid: "00:00:00:00:00:00:00:00:00:00:ff:ff:0a:00:00:01",
      qpNums: [673, 674],
      readyAck: false
    })
    const rejected = shown(first(vector("head.server.stale-ready-ack reply").sent.hex, "s2c"))
    assert.deepInclude(rejected, { _tag: "Rejected", reason: { _tag: "AckStale", detail: "" } })
    const old = shown(first(vector("head.server.old-framing request").sent.hex, "c2s"))
    assert.deepInclude(old, { _tag: "Request", framing: "old", type: 0 })
    assert.notProperty(old, "readyAck")
    const metadata = shown(first(vector("legacy.server.metadata reply").sent.hex, "s2c"))
    assert.deepInclude(metadata, { tcp_data_port: 0, name: "127.0.0.1:15101" })
  })

  it("shows what cannot be used with the reason", () => {
    const unusable = shown(first(vector("head.server.bad-peer-path request").sent.hex, "c2s"))
    const reason = { _tag: "ReceiverPathInvalid", detail: "nodelim" }
    assert.deepInclude(unusable, { _tag: "Unusable", reason, peerNicPath: "nodelim" })
    const { hex } = vector("head.server.no-gid request").sent
    const incomplete = shown(first(hex, "s2c"))
    assert.strictEqual(incomplete["_tag"], "Unusable")
    assert.deepInclude({ ...(incomplete["reason"] as object) }, { _tag: "ReplyIncomplete" })
  })

  it("lets a request for metadata bring anything, and a reply only a descriptor", () => {
    const { hex } = vector("legacy.server.metadata request").sent
    assert.deepInclude(shown(first(hex, "c2s")), { _tag: "Metadata", type: 1 })
    assert.isFalse(first(hex, "s2c").ok)
  })

  it("says what is wrong, and goes on with the next frame and the next line", () => {
    const probe = vector("head.server.probe request").sent.hex
    assert.deepInclude(error("0000000000000000"), { _tag: "FrameEmpty" })
    assert.deepInclude(error("000000000000000100"), { _tag: "FrameTooLong" })
    assert.deepInclude(error("020000000000000080"), { _tag: "UnknownFrameType", type: 128 })
    assert.deepInclude(error(probe.slice(0, -2)), { _tag: "Incomplete", bytes: 11 })
    const garbage = vector("head.fault.garbage request").sent.hex
    assert.deepInclude(error(garbage), { _tag: "BadJson", at: 0 })
    const decoder = MooncakeDecoder.make()
    const both = [...decoder.decode(bytesOfHex(garbage + probe), undefined)]
    assert.deepStrictEqual(
      both.map(({ ok }) => ok),
      [false, true]
    )
    assert.isTrue([...decoder.decode(bytesOfHex(probe), undefined)][0]!.ok)
  })
})

describe("handfast decode mooncake", () => {
  it("prints a line for each frame", () => {
    const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
    const frames = whole.filter(({ byMooncake, name }) => byMooncake && name.startsWith("head to"))
    const input = frames.map(({ sent, side }) => `${side} ${sent.hex}\n`).join("")
    const { status, stdout } = spawnSync(process.execPath, [main, "decode", "mooncake"], {
      input: `${input}0000000000000000\n`,
      encoding: "utf8",
      timeout: 60_000
    })
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    assert.deepStrictEqual([status, lines.length], [0, frames.length + 1])
    assert.deepStrictEqual(
      lines.slice(0, -1).map(({ encoded }) => encoded),
      frames.map(({ sent }) => sent.hex)
    )
    const tags = lines.slice(0, 4).map(({ frame }) => frame._tag)
    assert.deepStrictEqual(tags, ["Request", "Reply", "ReadyAck", "AckReply"])
    assert.deepStrictEqual(lines.at(-1), { ok: false, error: { _tag: "FrameEmpty" } })
  })
})
