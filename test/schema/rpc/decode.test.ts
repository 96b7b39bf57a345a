/**
 * Goal: `handfast decode rpcrdma` shows each message with its fields, and writes it again.
 * Method: recorded exchanges through the decoder, then the shipped command.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as RpcRdmaDecoder from "../../../src/schema/rpc/RpcRdmaDecoder.ts"
import { bytesOf, frames, hexOf, recorded } from "./vectors.ts"

const decoded = (hex: string) => {
  const [shown, ...more] = RpcRdmaDecoder.make().decode(bytesOf(hex), undefined)
  assert.deepStrictEqual(more, [])
  return shown!
}

describe("the decoder of RPC-over-RDMA", () => {
  it("shows the RPC message inside of each of Linux's replies, and writes the same bytes", () => {
    // In one of them the two XIDs differ, as in the call that it answers.
    const replies = recorded.flatMap(({ name, replies }) =>
      name === "xid-mismatch" ? [] : replies
    )
    assert.isAbove(replies.length, 10)
    for (const hex of replies) {
      const shown = decoded(hex)
      assert.isTrue(shown.ok)
      if (!shown.ok) continue
      assert.strictEqual(hexOf(shown.encoded), hex)
      if ("rpc" in shown.frame) assert.deepInclude(shown.frame.rpc, { _tag: "Accepted" })
    }
  })

  it("shows the bytes of a message that is reduced beyond reading", () => {
    const { hex } = frames.find(({ name }) => name === "nfs3-null-reply")!
    const cut = decoded(hex.slice(0, -8))
    assert.instanceOf(cut.ok && "rpc" in cut.frame && cut.frame.rpc, Uint8Array)
  })

  it("names what it cannot read", () => {
    const shown = decoded(frames.find(({ name }) => name === "bad-proc")!.hex)
    assert.deepInclude(shown, { ok: false })
    assert.strictEqual(!shown.ok && shown.error._tag, "HeaderMalformed")
  })

  it("is reached by the command", () => {
    const main = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url))
    const { hex } = frames.find(({ name }) => name === "all-chunks-call")!
    const { stdout } = spawnSync(process.execPath, [main, "decode", "rpcrdma"], {
      input: `c2s ${hex}\n`,
      encoding: "utf8",
      timeout: 60_000
    })
    const line = JSON.parse(stdout)
    assert.strictEqual(line.frame._tag, "RdmaMsg")
    assert.strictEqual(line.frame.chunks.reads[0].offset, "1885667174689804288")
    assert.strictEqual(line.frame.rpc.program, 0x2000_0001)
    assert.strictEqual(line.encoded, hex)
  })
})
