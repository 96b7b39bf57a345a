/** Captures made from bytes, and what tshark reads in them. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import { hexOf } from "./vectors.ts"

export interface Chunk {
  readonly from: "I" | "O"
  readonly bytes: Uint8Array
}

const folder = mkdtempSync(join(tmpdir(), "handfast-iwarp-"))
afterAll(() => rmSync(folder, { recursive: true }))

/** A capture in which each chunk is one TCP segment. */
export const capture = (name: string, chunks: ReadonlyArray<Chunk>): string => {
  const [text, pcap] = [join(folder, `${name}.txt`), join(folder, `${name}.pcap`)]
  const dumps = chunks.map(({ from, bytes }) => {
    const spaced = hexOf(bytes).replaceAll(/../g, " $&")
    return `${from}\n000000${spaced}\n`
  })
  writeFileSync(text, dumps.join(""))
  const flow = ["-T", "40000,20049", "-4", "10.0.0.1,10.0.0.2"]
  execFileSync("text2pcap", ["-q", "-D", ...flow, text, pcap], { stdio: "ignore", timeout: 10_000 })
  return pcap
}

/** Guesses at what a Send carries would hide it, and so would gathering Sends over segments. */
const plain = [
  "--disable-protocol",
  "smb_direct",
  "--disable-protocol",
  "rpcordma",
  "-o",
  "iwarp_ddp_rdmap.reassemble_iwarp_rdma_send:FALSE"
]

const tshark = (pcap: string, ...args: ReadonlyArray<string>): string =>
  execFileSync("tshark", ["-r", pcap, ...plain, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 30_000,
    maxBuffer: 1 << 26
  })

/** One row a segment: the value of each field, by its name. */
export const fieldsOf = (pcap: string, names: ReadonlyArray<string>) => {
  const wanted = names.flatMap((name) => ["-e", name])
  const out = tshark(pcap, "-T", "fields", "-E", "separator=|", ...wanted)
  return out
    .trimEnd()
    .split("\n")
    .map((row) => {
      const values = row.split("|")
      return (name: string): string => values[names.indexOf(name)] ?? ""
    })
}

export const verdicts = (pcap: string) => {
  const text = tshark(pcap, "-V")
  const count = (words: string) => text.split(words).length - 1
  const malformed = tshark(pcap, "-Y", "_ws.malformed").trim()
  return { good: count("Good CRC32"), bad: count("Bad CRC32"), malformed }
}
