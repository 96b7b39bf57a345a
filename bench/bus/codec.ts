/** Reads publications in place: by this library's view of a frame, and by a plain DataView walk. */
import type { Message } from "../../src/schema/bus/Message.ts"
import { encode } from "../../src/schema/bus/MessageCodec.ts"
import { FrameView } from "../../src/schema/bus/FrameView.ts"
import { headerBytes, lightHeaderBytes, slotBytes } from "../../src/schema/bus/Layout.ts"
import { type Outcome, rate } from "../harness.ts"

const header = {
  port: 6_379,
  currentEpoch: 1n,
  configEpoch: 1n,
  replicationOffset: 0n,
  sender: "a".repeat(40),
  slots: new Uint8Array(slotBytes),
  replicaOf: undefined,
  ip: "127.0.0.1",
  otherPort: 0,
  busPort: 16_379,
  flags: 17,
  isClusterOk: true,
  messageFlags: 0
}

/** Frames of one buffer: a batch, as a worker hands it over. */
const batch = 64

const frameOf = (kind: "full" | "light"): Uint8Array => {
  const channel = Buffer.from("news")
  const light = kind === "light" ? undefined : header
  const message: Message = { _tag: "Publish", header: light, channel, message: Buffer.from("x") }
  return encode(message)
}

const batchOf = (kind: "full" | "light") => {
  const frame = frameOf(kind)
  const bytes = new Uint8Array(Buffer.concat(Array.from({ length: batch }, () => frame)))
  return { bytes, length: frame.length }
}

/** Bytes of all channels and messages, so that no reading is left out. */
type Read = (bytes: Uint8Array, from: number, to: number) => number

const byView = (): Read => {
  const view = new FrameView()
  return (bytes, from, to) =>
    view.read(bytes, from, to) === undefined ? view.channel.length + view.message.length : NaN
}

/** What must be checked to read a publication, with nothing kept and no other type known. */
const byWalk = (): Read => {
  let of: Uint8Array | undefined
  let view: DataView = new DataView(new ArrayBuffer(0))
  return (bytes, from, to) => {
    if (of !== bytes) {
      of = bytes
      view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    if (view.getUint32(from) !== 0x5243_6d62 || view.getUint32(from + 4) !== to - from) return NaN
    if (view.getUint16(from + 8) !== 1) return NaN
    const type = view.getUint16(from + 12)
    if ((type & 0x7fff) !== 4) return NaN
    const at = from + ((type & 0x8000) === 0 ? headerBytes : lightHeaderBytes)
    const [channel, message] = [view.getUint32(at), view.getUint32(at + 4)]
    if (channel > to - at - 8 || message !== to - at - 8 - channel) return NaN
    return (
      bytes.subarray(at + 8, at + 8 + channel).length + bytes.subarray(at + 8 + channel, to).length
    )
  }
}

const readAll = (kind: "full" | "light", read: Read): Promise<Outcome> => {
  const { bytes, length } = batchOf(kind)
  const run = (count: number): number => {
    let sum = 0
    for (let k = 0; k < count; k++) {
      const from = (k % batch) * length
      sum += read(bytes, from, from + length)
    }
    // Each frame holds five bytes.
    return sum / 5
  }
  return rate({ unit: "frames/s", count: 5_000_000, run })
}

const contestant = (make: () => Read) => async (): Promise<Record<string, Outcome>> => ({
  "codec-full": await readAll("full", make()),
  "codec-light": await readAll("light", make())
})

export const decodeByView = contestant(byView)
export const decodeByWalk = contestant(byWalk)
