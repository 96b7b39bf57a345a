/** A peer that speaks iWARP by hand over a socket, so that it can say what no provider would. */
import * as Effect from "effect/Effect"
import * as net from "node:net"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import { FpduParser, Step } from "../../../src/schema/iwarp/FpduParser.ts"
import type { Message } from "../../../src/schema/iwarp/Message.ts"
import { decode, encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import * as Mpa from "../../../src/schema/iwarp/Mpa.ts"
import * as Negotiation from "../../../src/schema/iwarp/Negotiation.ts"

export const crc = Crc32c.make()

/** What the peer wants, if nothing else is said. */
export const wishes: Negotiation.LocalParams = {
  revision: 2,
  crc: true,
  ird: 4,
  ord: 4,
  peerToPeer: true,
  privateData: new Uint8Array(0)
}

/** The peer's request, with other wishes. */
export const request = (change: Partial<Negotiation.LocalParams> = {}) =>
  Mpa.encode(Negotiation.request({ ...wishes, ...change }))

/** What a raw peer has heard: the reply and messages, until the other side closed. */
export interface Heard {
  readonly reply: Mpa.MpaFrame | undefined
  readonly messages: ReadonlyArray<Message>
  readonly isReset: boolean
}

/** A socket that gathers what comes. */
export class RawPeer {
  readonly socket: net.Socket
  readonly messages: Array<Message> = []
  reply: Mpa.MpaFrame | undefined
  #isReset = false
  readonly #reader = new Mpa.MpaReader("reply")
  #parser: FpduParser | undefined
  #wake: Array<() => void> = []

  constructor(port: number, host: string, localAddress?: string) {
    const from = localAddress === undefined ? {} : { localAddress }
    this.socket = net.connect({ host, port, noDelay: true, allowHalfOpen: true, ...from })
    this.socket.on("data", (chunk) => this.#data(chunk))
    this.socket.on("connect", () => this.#wakeAll())
    this.socket.on("error", () => (this.#isReset = true))
    this.socket.on("end", () => this.socket.end())
    this.socket.on("close", () => this.#wakeAll())
  }

  send(...bytes: ReadonlyArray<Uint8Array>): void {
    this.socket.write(Buffer.concat(bytes))
  }

  /** Waits until something is so. */
  until(isSo: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const look = (): void => {
        if (isSo() || this.socket.closed) resume(Effect.void)
        else this.#wake.push(look)
      }
      look()
    })
  }

  /** Waits for the end. */
  get closed(): Effect.Effect<Heard> {
    return Effect.map(
      this.until(() => this.socket.closed),
      () => ({ reply: this.reply, messages: this.messages, isReset: this.#isReset })
    )
  }

  #data(chunk: Uint8Array): void {
    let at = 0
    if (this.#parser === undefined) {
      at = this.#reader.push(chunk, 0, chunk.length)
      this.reply = this.#reader.frame
      if (this.reply !== undefined) {
        this.#parser = new FpduParser({ crc: this.reply.crc ? crc : undefined })
      }
    }
    if (this.#parser !== undefined && at < chunk.length) this.#parse(this.#parser, chunk, at)
    this.#wakeAll()
  }

  #payload: Array<number> = []

  #parse(parser: FpduParser, chunk: Uint8Array, from: number): void {
    parser.feed(chunk, from, chunk.length)
    for (let step = parser.next(); step !== Step.starved; step = parser.next()) {
      if (step === Step.fault) return
      if (step === Step.header) this.#payload = []
      if (step === Step.payload) this.#payload.push(...chunk.subarray(parser.from, parser.to))
      if (step !== Step.complete) continue
      const control = parser.control.slice(0, parser.controlLength)
      const message = decode(
        parser.segment,
        control.length > 0 ? control : Uint8Array.from(this.#payload)
      )
      if (message !== undefined) this.messages.push(message)
    }
  }

  #wakeAll(): void {
    for (const look of this.#wake.splice(0)) look()
  }
}

/** The signal that opens the gate. */
export const ready = encode(
  { _tag: "Write", last: 1, stag: 1, to: 0n, payload: new Uint8Array(0) },
  crc
)

/** Connects as a scoped resource. */
export const dialRaw = (port: number, host: string, localAddress?: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new RawPeer(port, host, localAddress)),
    (peer) => Effect.sync(() => peer.socket.destroy())
  )
