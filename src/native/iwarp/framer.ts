/**
 * iWARP on one connection: the start-up of MPA, then the stream.
 *
 * It consumes the bytes of its connection as they come, without waiting for whole frames: payload
 * goes directly from the socket's buffer to its destination.
 */
import * as Crc32c from "../../schema/iwarp/Crc32c.ts"
import { FpduWriter, Outgoing } from "../../schema/iwarp/FpduWriter.ts"
import { encode, type MpaFrame, MpaReader } from "../../schema/iwarp/Mpa.ts"
import * as Negotiation from "../../schema/iwarp/Negotiation.ts"
import { Opcode, Queue } from "../../schema/iwarp/Segment.ts"
import * as Terminate from "../../schema/iwarp/Terminate.ts"
import { type Framer, FrameRefusal, type FramerPort, type FramerSession } from "../io/Framer.ts"
import { RegionTable } from "./regionTable.ts"
import { Stream } from "./stream.ts"
import {
  type Binding,
  type Command,
  encode as encodeEvent,
  type Event,
  hexOf,
  isText,
  bytesOfHex,
  readCommand
} from "./sessionProtocol.ts"

/** Options of each connection of a device. */
export interface SessionOptions {
  readonly table: SharedArrayBuffer
  /** The longest ULPDU to send; undefined for the longest that there are. */
  readonly maximumUlpdu: number | undefined
  readonly answerWithinMs: number
}

/** One for all connections of a thread: it holds bytes only while it sums them. */
let crc: Crc32c.Crc32c | undefined

/** Bytes of one checked read: so many that the cost of the read itself hardly counts. */
const stagingBytes = 524_288

/** The checksum of all sessions of this thread. */
const checker = (): Crc32c.Crc32c => (crc ??= Crc32c.make({ stagingBytes }))

/** The smallest demands of an answer: used to check whether a request can lead to a connection. */
const least = { crc: false, ird: 1, ord: 1, privateData: new Uint8Array(0) }

class Session implements FramerSession {
  readonly #port: FramerPort
  readonly #options: SessionOptions
  readonly #reader: MpaReader
  #phase: "idle" | "request" | "deciding" | "reply" | "stream" | "over"
  #request: MpaFrame | undefined
  #wishes: Extract<Command, { do: "connect" }> | undefined
  #stream: Stream | undefined

  constructor(port: FramerPort, options: SessionOptions) {
    this.#port = port
    this.#options = options
    this.#reader = new MpaReader(port.initiator ? "reply" : "request")
    this.#phase = port.initiator ? "idle" : "request"
  }

  /** Takes all present bytes at once. */
  length(_bytes: Uint8Array, from: number, to: number): number {
    return to - from
  }

  frame(bytes: Uint8Array, from: number, to: number): boolean {
    const at = this.#phase === "stream" ? from : this.#startUp(bytes, from, to)
    if (at < to) this.#stream?.push(bytes, at, to)
    return false
  }

  command(bytes: Uint8Array, from: number, to: number): void {
    if (!isText(bytes, from)) this.#stream?.kick()
    else {
      const command = readCommand(bytes, from, to)
      if (command.do === "connect") this.#connect(command)
      else if (this.#phase !== "deciding") return
      else if (command.do === "accept") this.#accept(command)
      else this.#reject(bytesOfHex(command.privateData), "the connection was rejected")
    }
  }

  into(): Uint8Array | undefined {
    return this.#stream?.staging
  }

  end(): void {
    this.#stream?.end()
  }

  /** Reads a request or a reply; returns the offset after it. */
  #startUp(bytes: Uint8Array, from: number, to: number): number {
    if (this.#phase === "over") return to
    if (this.#phase === "idle" || this.#phase === "deciding") {
      throw new FrameRefusal("the peer sent data before its turn")
    }
    const at = this.#reader.push(bytes, from, to)
    const { fault, frame } = this.#reader
    if (fault !== undefined) throw new FrameRefusal(`no start of MPA: ${fault._tag}`)
    if (frame === undefined) return at
    if (this.#phase === "reply") this.#replied(frame)
    else {
      this.#requested(frame)
      if (at < to) throw new FrameRefusal("bytes behind the request, before the reply")
    }
    return at
  }

  #say(event: Event): void {
    this.#port.deliver(encodeEvent(event))
  }

  #close(why: string): void {
    this.#phase = "over"
    this.#port.refuse(why)
  }

  #requested(frame: MpaFrame): void {
    this.#request = frame
    const { outcome, reply } = Negotiation.respond(frame, least)
    if (outcome._tag !== "Settled") {
      this.#port.write(encode(reply))
      this.#close(`an incompatible request: ${outcome._tag}`)
      return
    }
    this.#phase = "deciding"
    const { enhanced, privateData, revision } = frame
    const limits = { ird: enhanced?.ird ?? 0, ord: enhanced?.ord ?? 0 }
    this.#say({ say: "request", privateData: hexOf(privateData), ...limits, revision })
  }

  #reject(privateData: Uint8Array, why: string): void {
    this.#port.write(encode(Negotiation.reject(this.#request!, privateData)))
    this.#close(why)
  }

  #accept(command: Extract<Command, { do: "accept" }>): void {
    const privateData = bytesOfHex(command.privateData)
    const { outcome, reply } = Negotiation.respond(this.#request!, { ...command, privateData })
    this.#port.write(encode(reply))
    if (outcome._tag !== "Settled") this.#close(`an incompatible request: ${outcome._tag}`)
    else this.#settled(outcome, command.bind)
  }

  #connect(command: Extract<Command, { do: "connect" }>): void {
    const privateData = bytesOfHex(command.privateData)
    this.#wishes = command
    this.#request = Negotiation.request({ ...command, privateData })
    this.#phase = "reply"
    this.#port.write(encode(this.#request))
  }

  #replied(reply: MpaFrame): void {
    const wishes = this.#wishes!
    const outcome = Negotiation.settle(this.#request!, reply, wishes)
    if (outcome._tag === "Settled") return this.#settled(outcome, wishes.bind)
    const isRejected = outcome._tag === "Rejected"
    if (!isRejected) this.#terminate(outcome.terminate, wishes.crc || reply.crc)
    this.#say({
      say: "declined",
      reason: isRejected ? "rejected" : "incompatible",
      privateData: isRejected ? hexOf(outcome.privateData) : "",
      revision: reply.revision,
      detail: outcome._tag
    })
    this.#close(`declined: ${outcome._tag}`)
  }

  #terminate(cause: Terminate.Cause, checked: boolean): void {
    const writer = new FpduWriter({ crc: checked ? checker() : undefined })
    const message = new Outgoing()
    message.opcode = Opcode.terminate
    message.queue = Queue.terminate
    message.sequence = 1
    message.payload = [Terminate.encode(cause)]
    writer.put(message)
    for (const part of writer.take()!.parts) this.#port.write(part)
  }

  #settled(settled: Negotiation.Settled, bind: Binding): void {
    const { crc: checked, ird, ord, privateData, ready, revision } = settled
    this.#phase = "stream"
    this.#stream = new Stream({
      port: this.#port,
      table: new RegionTable(this.#options.table),
      bind,
      settled,
      crc: checked ? checker() : undefined,
      maximumUlpdu: this.#options.maximumUlpdu,
      answerWithinMs: this.#options.answerWithinMs
    })
    const open = this.#port.initiator || ready === "message"
    const agreed = { privateData: hexOf(privateData), ird, ord, crc: checked, revision }
    this.#say({ say: "settled", ...agreed, open })
    if (this.#port.initiator) this.#stream.begin(ready)
  }
}

/** The most bytes of one read or one delivery. */
const maxFrameBytes = 1_048_576

export default {
  maxFrameBytes,
  takesCommands: true,
  consumes: true,
  open: (port, options) => new Session(port, options as SessionOptions)
} satisfies Framer
