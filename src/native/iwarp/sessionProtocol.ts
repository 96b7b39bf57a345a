/**
 * The protocol between the main thread and a session: rare events as JSON, completions as records
 * of four words, many in one frame.
 */
import type { Status } from "../verbs/Completion.ts"

/** The queues that a connection serves, and the rights of its peer. */
export interface Binding {
  /** The number of the queues' memory in the I/O pool. */
  readonly queues: number
  readonly epoch: number
  readonly domain: number
  /** Rights of the queue pair, as bits. */
  readonly rights: number
  /** The index of the first work of this connection. */
  readonly sendAt: number
  readonly receiveAt: number
}

/** One side's parameters of a connection. Private data are hex digits. */
export interface MpaParams {
  readonly crc: boolean
  readonly ird: number
  readonly ord: number
  readonly privateData: string
}

export type Command =
  | (MpaParams & {
      readonly do: "connect"
      readonly revision: 1 | 2
      readonly peerToPeer: boolean
      readonly bind: Binding
    })
  | (MpaParams & { readonly do: "accept"; readonly bind: Binding })
  | { readonly do: "reject"; readonly privateData: string }

/** The negotiated parameters of a connection. */
export interface NegotiatedParams {
  readonly privateData: string
  readonly ird: number
  readonly ord: number
  readonly crc: boolean
  readonly revision: number
}

/** Why a connection failed. `send` and `receive` are the statuses of each queue's oldest work. */
export interface Failure {
  readonly detail: string
  readonly send?: Status | undefined
  readonly receive?: Status | undefined
}

export type Event =
  | (Omit<NegotiatedParams, "crc"> & { readonly say: "request" })
  /** `open`: the peer is known to be ready. */
  | (NegotiatedParams & { readonly say: "settled"; readonly open: boolean })
  | { readonly say: "open" }
  | {
      readonly say: "declined"
      readonly reason: "rejected" | "incompatible"
      readonly privateData: string
      /** The revision of the peer's answer. */
      readonly revision: number
      readonly detail: string
    }
  | (Failure & { readonly say: "failed" })

/** Kinds of records: the first word. */
export const Tag = { sends: 1, receive: 2, receiveImmediate: 3 } as const

/** Bytes of a record. */
export const recordBytes = 16

const brace = 0x7b
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const kick = Uint8Array.of(0)

/** The message that notifies a session of work. */
export const kickBytes = (): Uint8Array => kick

export const encode = (message: Command | Event): Uint8Array =>
  encoder.encode(JSON.stringify(message))

/** Whether these bytes are JSON, and not records or a notification of work. */
export const isText = (bytes: Uint8Array, from: number): boolean => bytes[from] === brace

// Both ends are this program, so the format needs no check.
const parse = <A>(bytes: Uint8Array, from: number, to: number): A =>
  JSON.parse(decoder.decode(bytes.slice(from, to))) as A

export const readCommand = (bytes: Uint8Array, from: number, to: number): Command =>
  parse(bytes, from, to)

export const readEvent = (bytes: Uint8Array, from: number, to: number): Event =>
  parse(bytes, from, to)

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const bytesOfHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"))

/**
 * Records and events on their way to the main thread. Those of one turn leave together, in order,
 * at its end, because on the main thread their receivers run at once.
 */
export class Records {
  readonly #deliver: (bytes: Uint8Array) => void
  #bytes = new Uint8Array(64 * recordBytes)
  #view = new DataView(this.#bytes.buffer)
  #length = 0
  /** Frames before the present records. */
  #before: Array<Uint8Array> = []

  constructor(deliver: (bytes: Uint8Array) => void) {
    this.#deliver = deliver
  }

  add(tag: number, a: number, b: number, c: number): void {
    const at = this.#length
    if (at === this.#bytes.length) this.#grow()
    this.#view.setUint32(at, tag, true)
    this.#view.setUint32(at + 4, a, true)
    this.#view.setUint32(at + 8, b, true)
    this.#view.setUint32(at + 12, c, true)
    this.#length += recordBytes
  }

  /** Adds an event, in order with the records. */
  addEvent(event: Event): void {
    if (this.#length > 0) this.#before.push(this.#bytes.slice(0, this.#length))
    this.#length = 0
    this.#before.push(encode(event))
  }

  flush(): void {
    if (this.#before.length > 0) {
      const frames = this.#before
      this.#before = []
      for (const frame of frames) this.#deliver(frame)
    }
    const length = this.#length
    if (length === 0) return
    this.#length = 0
    this.#deliver(this.#bytes.subarray(0, length))
  }

  #grow(): void {
    const grown = new Uint8Array(this.#bytes.length * 2)
    grown.set(this.#bytes)
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}
