/**
 * iWARP written by hand from RFC 5040, 5041, 5044 and 6581, for peers that know nothing of this
 * library: it shares no line with the encoders that it is used against.
 */
import * as net from "node:net"
import * as tls from "node:tls"

/** CRC-32C, bit by bit. */
const crc32c = (bytes: Uint8Array): number => {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f6_3b78)
  }
  return ~crc >>> 0
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex")

const u16 = (value: number): Buffer => hex(value.toString(16).padStart(4, "0"))
const u32 = (value: number): Buffer => hex((value >>> 0).toString(16).padStart(8, "0"))
const u64 = (value: number | bigint): Buffer => hex(BigInt(value).toString(16).padStart(16, "0"))

export const key = { request: "MPA ID Req Frame", reply: "MPA ID Rep Frame" } as const

export interface Start {
  readonly key?: string
  readonly flags?: number
  readonly revision?: number
  /** The length that is claimed, if not that of the private data. */
  readonly length?: number
  readonly privateData?: Uint8Array
}

/** RFC 5044, 7.1: key, flags (a CRC, and an enhanced prefix), revision, length, private data. */
export const start = ({ flags = 0x50, length, privateData, revision = 2, ...rest }: Start = {}) => {
  const data = privateData ?? enhanced(4, 4)
  const head = Buffer.from(rest.key ?? key.request, "latin1")
  return Buffer.concat([head, Buffer.of(flags, revision), u16(length ?? data.length), data])
}

/** RFC 6581, 9: peer-to-peer with an empty Write or Read as the first FPDU. */
export const enhanced = (ird: number, ord: number): Buffer =>
  Buffer.concat([u16(0x8000 | ird), u16(0xc000 | ord)])

/** RFC 5044, 4: length, ULPDU, pad, CRC with its lowest byte first. */
export const fpdu = (ulpdu: Uint8Array, length = ulpdu.length): Buffer => {
  const pad = Buffer.alloc(-(2 + ulpdu.length) & 3)
  const body = Buffer.concat([u16(length), ulpdu, pad])
  return Buffer.concat([body, u32(crc32c(body)).toReversed()])
}

/** RFC 5041, 4.1: a tagged segment that is the last of its message. */
export const tagged = (
  opcode: number,
  stag: number,
  offset: number | bigint,
  payload: Uint8Array = new Uint8Array(0)
): Buffer => Buffer.concat([Buffer.of(0xc1, 0x40 | opcode), u32(stag), u64(offset), payload])

/** RFC 5041, 4.2: an untagged segment that is the last of its message. */
export const untagged = (
  opcode: number,
  queue: number,
  sequence: number,
  messageOffset: number,
  payload: Uint8Array = new Uint8Array(0)
): Buffer => {
  const numbers = [u32(0), u32(queue), u32(sequence), u32(messageOffset)]
  return Buffer.concat([Buffer.of(0x41, 0x40 | opcode), ...numbers, payload])
}

/** RFC 5040, 4.4: sink key and offset, size, source key and offset. */
export const read = (
  sequence: number,
  size: number,
  stag: number,
  offset: number | bigint
): Buffer => {
  const header = [u32(9), u64(0), u32(size), u32(stag), u64(offset)]
  return untagged(1, 1, sequence, 0, Buffer.concat(header))
}

/** The first FPDU of a peer-to-peer initiator: an empty Write. */
export const first = fpdu(tagged(0, 1, 0))

/** A socket that sends what it likes, and keeps what comes. */
export class Stranger {
  readonly socket: net.Socket
  readonly closed: Promise<void>
  heard = Buffer.alloc(0)
  #wake: () => void = () => undefined

  readonly #stream: net.Socket

  /** With `secured` the peer speaks through TLS, and its socket is the one below. */
  constructor(port: number, secured?: tls.ConnectionOptions) {
    this.socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    this.#stream =
      secured === undefined ? this.socket : tls.connect({ socket: this.socket, ...secured })
    for (const stream of [this.socket, this.#stream]) stream.on("error", () => undefined)
    this.#stream.on("data", (bytes: Buffer) => {
      // Of a flood, only the beginning is looked at.
      if (this.heard.length < 4096) this.heard = Buffer.concat([this.heard, bytes])
      this.#wake()
    })
    this.closed = new Promise((resolve) => this.socket.on("close", () => resolve()))
  }

  say(...parts: ReadonlyArray<Uint8Array>): void {
    this.#stream.write(Buffer.concat(parts))
  }

  /** Waits for so many bytes, or the end. */
  async hear(bytes: number): Promise<void> {
    while (this.heard.length < bytes && !this.socket.closed) {
      await Promise.race([this.closed, new Promise<void>((resolve) => (this.#wake = resolve))])
    }
  }
}
