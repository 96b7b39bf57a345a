/**
 * Goal: the private data of a connection is read and written as RFC 8797 says, wherever in the
 * transport's private data it lies, and what this library adds is read by its own kind only.
 * Method: vectors, Linux's among them, and all sizes that can be said.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ConnectionData from "../../../src/schema/rpc/ConnectionData.ts"
import { bytesOf, hexOf, privateData } from "./vectors.ts"

const linux = {
  sendBytes: 4_096,
  receiveBytes: 4_096,
  remoteInvalidate: true,
  extension: undefined
}
const instance = Uint8Array.from({ length: 16 }, (_, index) => index + 1)

describe("private data of a connection", () => {
  it.each(privateData.filter(({ data }) => data !== undefined))("$name", ({ data, hex }) => {
    const read = ConnectionData.decode(bytesOf(hex))
    assert.deepStrictEqual(read, { ...data!, extension: undefined })
    assert.strictEqual(hexOf(ConnectionData.encode(read)), hex)
  })

  it.each([
    ["mpa-prefixed", linux],
    ["as-seen-in-CM-REQ", linux],
    ["as-seen-in-CM-REP", { ...linux, remoteInvalidate: false }],
    ["unknown-version", ConnectionData.unsaid]
  ])("is found behind and before other bytes, in a known version: %s", (name, expected) => {
    const { hex } = privateData.find((vector) => vector.name === name)!
    assert.deepStrictEqual(ConnectionData.decode(bytesOf(hex)), expected)
  })

  it("says nothing when it is short or absent", () => {
    const whole = ConnectionData.encode(linux)
    for (let length = 0; length < whole.length; length++) {
      const read = ConnectionData.decode(whole.slice(0, length))
      assert.deepStrictEqual(read, ConnectionData.unsaid)
    }
  })

  it("carries every size from 1 KiB to 256 KiB, and no other", () => {
    for (let bytes = 1_024; bytes <= ConnectionData.maxInlineBytes; bytes += 1_024) {
      const said = ConnectionData.encode({ ...linux, sendBytes: bytes, receiveBytes: 1_024 })
      assert.strictEqual(ConnectionData.decode(said).sendBytes, bytes)
      assert.strictEqual(ConnectionData.decode(said).receiveBytes, 1_024)
    }
    for (const sendBytes of [0, 1_000, 263_168]) {
      assert.throws(() => ConnectionData.encode({ ...linux, sendBytes }), RangeError)
    }
  })

  it("carries the instance to ends of this library, also when zeros follow", () => {
    const data = { ...linux, extension: { instance, reverseCalls: 7 } }
    const said = ConnectionData.encode(data)
    // An InfiniBand request has room for 56 bytes.
    const padded = new Uint8Array(56)
    padded.set(said)
    assert.deepStrictEqual(ConnectionData.decode(padded), data)
    assert.strictEqual(hexOf(said.slice(0, 8)), hexOf(ConnectionData.encode(linux)))
    for (let length = 8; length < said.length; length++) {
      assert.deepStrictEqual(ConnectionData.decode(said.slice(0, length)), linux)
    }
    padded[8] = 0
    assert.deepStrictEqual(ConnectionData.decode(padded), linux)
    const short = { ...data, extension: { instance: instance.slice(1), reverseCalls: 0 } }
    assert.throws(() => ConnectionData.encode(short), RangeError)
  })

  it("gives each direction the smaller of what is sent and what is received", () => {
    const client = { ...linux, sendBytes: 8_192, receiveBytes: 2_048 }
    const server = { ...linux, sendBytes: 1_024, receiveBytes: 4_096 }
    const agreed = ConnectionData.thresholds(client, server)
    assert.deepStrictEqual(agreed, { callBytes: 4_096, replyBytes: 1_024 })
  })
})
