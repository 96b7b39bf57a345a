/**
 * Goal: what we write is what an independent reader sees.
 * Method: messages of every kind in a fabricated capture of RoCE packets; tshark's fields are
 * compared with ours one by one.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import * as RpcMessage from "../../../src/schema/rpc/RpcMessage.ts"
import * as RpcRdmaMessage from "../../../src/schema/rpc/RpcRdmaMessage.ts"
import { peer } from "../../peers.ts"
import { frame, hexOf } from "./vectors.ts"

/** A reliable Send to queue pair 0x12; tshark does not check the packet's checksum of zeros. */
const sendOnly = "0440ffff0000001200000001"
const noChecksum = "00000000"

const captured = (messages: ReadonlyArray<Uint8Array>, names: ReadonlyArray<string>) => {
  const folder = mkdtempSync(join(tmpdir(), "handfast-rpcrdma-"))
  try {
    const [text, pcap] = [join(folder, "h.txt"), join(folder, "h.pcap")]
    const packets = messages.map((message) => `${sendOnly}${hexOf(message)}${noChecksum}`)
    const lines = packets.map((hex) => `000000${hex.replaceAll(/../g, " $&")}\n`)
    writeFileSync(text, lines.join(""))
    const flow = ["-u", "49153,4791", "-4", "192.168.1.10,192.168.1.20"]
    execFileSync("text2pcap", ["-q", ...flow, text, pcap], { stdio: "ignore", timeout: 10_000 })
    const wanted = names.flatMap((name) => ["-e", name])
    const list = ["-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,"]
    const out = execFileSync("tshark", ["-r", pcap, "-T", "fields", ...list, ...wanted], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 30_000
    })
    return out.trimEnd().split("\n")
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const xid = 0x8123_4567
const call = RpcMessage.encode({
  _tag: "Call",
  xid,
  program: 100_003,
  version: 3,
  procedure: 0,
  credential: RpcMessage.authSys({ stamp: 1, machine: "vm", uid: 2, gid: 3, gids: [4] }),
  verifier: RpcMessage.authNone,
  args: new Uint8Array(0)
})
const offset = 0xfedc_ba98_7654_3210n
const segment = (handle: number, length: number) => ({ handle, length, offset })

const messages: ReadonlyArray<RpcRdmaMessage.RpcRdmaMessage> = [
  { _tag: "RdmaMsg", xid, credits: 65_535, chunks: RpcRdmaMessage.noChunks, rpc: call },
  {
    _tag: "RdmaNomsg",
    xid,
    credits: 1,
    chunks: {
      reads: [
        { position: 0, ...segment(0xdead_beef, 70_000) },
        { position: 4, ...segment(2, 4) }
      ],
      writes: [[segment(3, 5), segment(4, 2 ** 32 - 1)], [segment(5, 0)]],
      reply: [segment(6, 7)]
    }
  },
  { _tag: "RdmaErrVers", xid, credits: 8, version: 1, low: 2, high: 3 },
  { _tag: "RdmaErrChunk", xid, credits: 9 },
  { _tag: "RdmaDone", xid, credits: 10 }
]

const procedures = { RdmaMsg: 0, RdmaNomsg: 1, RdmaDone: 3, RdmaErrVers: 4, RdmaErrChunk: 4 }
const hex32 = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`

const segmentsOf = ({ reads, reply = [], writes }: RpcRdmaMessage.ChunkLists) => [
  ...reads,
  ...writes.flat(),
  ...reply
]

/** What tshark should print of a message: a value for each of the fields below. */
const expected = (message: RpcRdmaMessage.RpcRdmaMessage): string => {
  const chunks = "chunks" in message ? message.chunks : undefined
  const all = chunks === undefined ? [] : segmentsOf(chunks)
  const versions = message._tag === "RdmaErrVers" ? [message.low, message.high] : ["", ""]
  const code = { RdmaErrVers: 1, RdmaErrChunk: 2 }[message._tag as string] ?? ""
  return [
    hex32(message.xid),
    message.credits,
    procedures[message._tag],
    chunks?.reads.length ?? "",
    chunks?.writes.length ?? "",
    chunks === undefined ? "" : Number(chunks.reply !== undefined),
    chunks?.reads.map(({ position }) => position).join(",") ?? "",
    all.map(({ handle }) => hex32(handle)).join(","),
    all.map(({ length }) => length).join(","),
    all.map(({ offset }) => `0x${offset.toString(16).padStart(16, "0")}`).join(","),
    code,
    ...versions
  ].join("|")
}

const fields = [
  "xid",
  "flow_control",
  "msg_type",
  "reads_count",
  "writes_count",
  "reply_count",
  "position",
  "rdma_handle",
  "rdma_length",
  "rdma_offset",
  "errcode",
  "vers_low",
  "vers_high"
].map((name) => `rpcordma.${name}`)

peer("tshark", "tshark's view of RPC-over-RDMA", () => {
  it("is ours, field by field", () => {
    const seen = captured(messages.map(RpcRdmaMessage.encode), fields)
    assert.deepStrictEqual(seen, messages.map(expected))
  })

  it("finds an RPC call that it knows in our message", () => {
    const rpcFields = [
      "rpc.xid",
      "rpc.program",
      "rpc.programversion",
      "rpc.procedure",
      "rpc.auth.uid"
    ]
    const malformed = [...rpcFields, "_ws.malformed"]
    const [seen] = captured([RpcRdmaMessage.encode(messages[0]!)], malformed)
    assert.strictEqual(seen, `${hex32(xid)}|100003|3,3|0|2|`)
  })

  it("sees that a message is cut", () => {
    const [seen] = captured([frame("read-list-runaway")], ["_ws.malformed"])
    assert.notStrictEqual(seen, "")
  })
})
