/**
 * Goal: `handfast decode bus` shows each frame with its fields, and writes it again.
 * Method: streams of real servers and malformed frames through the decoder, then the shipped
 * command.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as BusDecoder from "../../../src/schema/bus/BusDecoder.ts"
import { bytesOf, frame, hexOf, malformed, streams } from "./vectors.ts"

const decoded = (bytes: Uint8Array) => [...BusDecoder.make().decode(bytes, undefined)]

describe("the decoder of the cluster bus", () => {
  it.each(streams)("shows each frame of a stream, and writes the same bytes: $name", (stream) => {
    const shown = decoded(bytesOf(stream.hex))
    const lengths = shown.map((frame) => (frame.ok ? frame.bytes : assert.fail(frame.error._tag)))
    assert.deepStrictEqual(
      lengths,
      stream.frames.map(({ len }) => len)
    )
    const encoded = shown.map((frame) => (frame.ok ? hexOf(frame.encoded) : ""))
    assert.strictEqual(encoded.join(""), stream.hex)
  })

  it("goes on behind a frame that it drops, and ends at bytes that are no frame", () => {
    const bad = bytesOf(malformed.find(({ name }) => name === "ver 2")!.hex)
    const bytes = Buffer.concat([bad, frame("valkey/PUBLISH"), Buffer.from("garbage")])
    const tags = decoded(bytes).map((frame) => (frame.ok ? "ok" : frame.error._tag))
    assert.deepStrictEqual(tags, ["WrongVersion", "ok", "WrongSignature"])
  })

  it("names a frame that is cut", () => {
    const [cut] = decoded(frame("redis7/PUBLISH").subarray(0, 2_000))
    assert.deepEqual(cut, { ok: false, error: { _tag: "Incomplete", bytes: 2_000 } as never })
  })

  it("is reached by the command", () => {
    const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
    const hex = hexOf(frame("redis7/PING from primary with slots+exts"))
    const { stdout } = spawnSync(process.execPath, [main, "decode", "bus"], {
      input: `c2s ${hex}\n`,
      encoding: "utf8",
      timeout: 60_000
    })
    const line = JSON.parse(stdout)
    assert.strictEqual(line.frame._tag, "Ping")
    assert.deepStrictEqual(line.frame.header.slots, [[0, 5460]])
    assert.deepStrictEqual(line.frame.extensions, [
      { _tag: "Hostname", text: "host-1.example.com" }
    ])
    assert.strictEqual(line.encoded, hex)
  })
})
