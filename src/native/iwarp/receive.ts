/** The receiving half of a session: validates, places and reports what the peer sends. */
import type { Crc32c } from "../../schema/iwarp/Crc32c.ts"
import type { StreamFault } from "../../schema/iwarp/Fault.ts"
import { FpduParser, Step } from "../../schema/iwarp/FpduParser.ts"
import { Delivery, Inbound, Place } from "../../schema/iwarp/Inbound.ts"
import { invalidates } from "../../schema/iwarp/internal/shape.ts"
import { Opcode, wordAt } from "../../schema/iwarp/Segment.ts"
import * as Terminate from "../../schema/iwarp/Terminate.ts"
import type { QueueMemory } from "./queueMemory.ts"
import { type TaggedBuffer, type BufferTable, ScatterBuffer, type Sink } from "./placement.ts"

/** Events of the receiver. */
export interface ReceiverPort {
  /** Called for each valid FPDU of the peer. */
  readonly fpduVerified: () => void
  readonly received: (length: number, immediate: number | undefined, invalidated: number) => void
  readonly readRequest: (request: Uint8Array, sink: TaggedBuffer | undefined, at: number) => void
  readonly atomicRequest: (request: Uint8Array, sink: TaggedBuffer, at: number) => void
  readonly readDone: () => void
  readonly atomicDone: (response: Uint8Array) => void
  readonly terminated: (terminate: Terminate.Terminate | undefined) => void
  /** The peer broke the protocol; `answer` is the Terminate to send. */
  readonly refused: (fault: StreamFault, answer: Uint8Array) => void
  /** The local memory of a message has been released. */
  readonly lost: (isReceive: boolean) => void
}

/** Parameters of the receiver. */
export interface ReceiverOptions {
  readonly domain: number
  readonly ird: number
  readonly ord: number
  readonly receiveAt: number
  readonly crc: Crc32c | undefined
}

/** The receiving half of a connection. */
export class Receiver {
  readonly inbound: Inbound<Sink>
  readonly #port: ReceiverPort
  readonly #parser: FpduParser
  readonly #checks: boolean
  readonly #queues: QueueMemory
  readonly #buffers: BufferTable
  readonly #receive: ScatterBuffer
  #receiveAt: number
  /** The destination of the current FPDU's payload, and the offset in it. */
  #sink: Sink | undefined
  #at = 0
  /** Memory of the current FPDU was released. */
  #isLost = false
  #isOver = false

  constructor(
    port: ReceiverPort,
    queues: QueueMemory,
    memory: BufferTable,
    options: ReceiverOptions
  ) {
    const { crc, domain, ird, ord, receiveAt } = options
    this.#port = port
    this.#queues = queues
    this.#buffers = memory
    this.#parser = new FpduParser({ crc })
    this.#checks = crc !== undefined
    this.#receive = new ScatterBuffer(memory)
    this.#receiveAt = receiveAt | 0
    this.inbound = new Inbound<Sink>({
      domain,
      region: (stag) => memory.keyed(stag),
      takeReceive: () => this.#takeReceive(),
      ird,
      ord
    })
  }

  /** Whether the peer is in the middle of an FPDU. */
  get isInside(): boolean {
    return this.#parser.inside
  }

  /** Stops placing and reporting. */
  end(): void {
    this.#isOver = true
  }

  push(chunk: Uint8Array, from: number, to: number): void {
    const parser = this.#parser
    parser.feed(chunk, from, to)
    while (!this.#isOver) {
      const step = parser.next()
      if (step === Step.starved) return
      if (step === Step.payload) this.#place(chunk)
      else if (step === Step.header) this.#header()
      else if (step === Step.complete) this.#complete()
      else this.#refuse(parser.fault!)
    }
  }

  #takeReceive(): number {
    if (this.#receiveAt === this.#queues.receives) return -1
    const index = this.#receiveAt
    this.#receiveAt = (index + 1) | 0
    const { length } = this.#receive.load(
      this.#queues,
      this.#queues.receiveParts(index),
      this.#queues.receivePartCount(index)
    )
    return length
  }

  #header(): void {
    const { inbound } = this
    const place = inbound.header(this.#parser.segment)
    this.#at = inbound.at
    this.#isLost = false
    if (place === Place.region) this.#sink = inbound.region
    else this.#sink = place === Place.receive ? this.#receive : undefined
    // Without a CRC, the header need not be verified before it is refused.
    if (!this.#checks && inbound.refused !== undefined) this.#refuse(inbound.refused)
  }

  #place(chunk: Uint8Array): void {
    const { from, offset, to } = this.#parser
    if (this.#sink === undefined || this.#isLost) return
    this.#isLost = !this.#sink.place(this.#at + offset, chunk, from, to)
  }

  #complete(): void {
    const parser = this.#parser
    const { inbound } = this
    const { segment } = parser
    if (this.#isLost) return this.#lose()
    const control = parser.control.subarray(0, parser.controlLength)
    const delivery = inbound.complete(segment, control)
    if (delivery === Delivery.refused) return this.#refuse(inbound.refused!)
    this.#port.fpduVerified()
    switch (delivery) {
      case Delivery.receive:
        return this.#deliver(control)
      case Delivery.readRequest: {
        const isEmpty = wordAt(control, 12) === 0
        const sink = isEmpty ? undefined : (inbound.region as TaggedBuffer)
        return this.#port.readRequest(control, sink, inbound.at)
      }
      case Delivery.atomicRequest:
        return this.#port.atomicRequest(control, inbound.region as TaggedBuffer, inbound.at)
      case Delivery.readDone:
        return this.#port.readDone()
      case Delivery.atomicDone:
        return this.#port.atomicDone(control)
      case Delivery.terminate:
        return this.#port.terminated(Terminate.decode(control))
    }
  }

  #deliver(control: Uint8Array): void {
    const { segment } = this.#parser
    const isImmediate = segment.opcode >= Opcode.immediate
    const invalidated = invalidates(segment.opcode) ? segment.stag : 0
    // The peer may have invalidated it twice at once; the second time it names nothing.
    if (invalidated !== 0 && !this.#invalidate(invalidated)) {
      this.#isOver = true
      return this.#port.lost(true)
    }
    const immediate = isImmediate ? wordAt(control, 4) : undefined
    const length = isImmediate ? wordAt(control, 0) : this.inbound.received
    this.#port.received(length, immediate, invalidated)
  }

  /** Voids a key; false if another session is still using it. This one is not. */
  #invalidate(key: number): boolean {
    const { table } = this.#buffers
    const row = table.find(key)
    table.invalidate(key)
    return row < 0 || table.waitUntilUnused(row)
  }

  #lose(): void {
    const { opcode, tagged } = this.#parser.segment
    if (tagged && opcode === Opcode.write) {
      const { code, layer, type } = Terminate.Cause.taggedInvalidStag
      this.#refuse({ _tag: "Refused", layer, type, code, opcode })
    } else {
      this.#isOver = true
      this.#port.lost(!tagged)
    }
  }

  #refuse(fault: StreamFault): void {
    const { control, controlLength, segment } = this.#parser
    this.#isOver = true
    const answer = Terminate.encode(
      Terminate.answerTo(fault),
      segment,
      control.subarray(0, controlLength)
    )
    this.#port.refused(fault, answer)
  }
}
