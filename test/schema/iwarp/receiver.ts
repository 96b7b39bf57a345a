/**
 * The receiving side of a stream as a provider would build it: parser, checks, memory. It owns its
 * regions and receives, so a test can see every byte that a peer managed to place.
 */
import type { Crc32c } from "../../../src/schema/iwarp/Crc32c.ts"
import type { StreamFault } from "../../../src/schema/iwarp/Fault.ts"
import { FpduParser, Step } from "../../../src/schema/iwarp/FpduParser.ts"
import { Delivery, Inbound, Place } from "../../../src/schema/iwarp/Inbound.ts"
import type { Region } from "../../../src/schema/iwarp/Region.ts"
import * as Terminate from "../../../src/schema/iwarp/Terminate.ts"

export interface Memory extends Region {
  readonly bytes: Uint8Array
}

const names = Object.entries(Delivery)

export class Receiver {
  readonly regions = new Map<number, Memory>()
  /** Lengths of the receives that are posted. */
  readonly posted: Array<number> = []
  readonly deliveries: Array<string> = []
  /** The receive that was taken last. */
  receive: Uint8Array = new Uint8Array(0)
  fault: StreamFault | undefined = undefined
  /** Is told of every segment that was taken; `control` is what `Inbound` was given of it. */
  onSegment: (delivery: number, control: Uint8Array) => void = () => {}
  readonly parser: FpduParser
  readonly inbound: Inbound<Memory>

  constructor(crc: Crc32c | undefined, limits = { ird: 4, ord: 4 }) {
    this.parser = new FpduParser({ crc })
    this.inbound = new Inbound<Memory>({
      domain: 1,
      region: (stag) => this.regions.get(stag),
      takeReceive: () => {
        const length = this.posted.shift() ?? -1
        if (length >= 0) this.receive = new Uint8Array(length)
        return length
      },
      ...limits
    })
  }

  /** A region at STag `stag` with every right, filled with `fill`. */
  register(stag: number, base: number, length: number, rights: Partial<Region> = {}): Memory {
    const bytes = new Uint8Array(length).fill(0xaa)
    const all = { remoteWrite: true, remoteRead: true, remoteAtomic: true }
    const memory = { bytes, base, length, domain: 1, ...all, ...rights }
    this.regions.set(stag, memory)
    return memory
  }

  push(chunk: Uint8Array): void {
    const { inbound, parser } = this
    let target: Uint8Array | undefined
    if (this.fault !== undefined) return
    parser.feed(chunk, 0, chunk.length)
    for (let step = parser.next(); step !== Step.starved; step = parser.next()) {
      if (step === Step.header) {
        this.#place = inbound.header(parser.segment)
        this.#at = inbound.at
      } else if (step === Step.payload) {
        target = this.#place === Place.region ? inbound.region!.bytes : this.receive
        if (this.#place !== Place.region && this.#place !== Place.receive) continue
        target.set(chunk.subarray(parser.from, parser.to), this.#at + parser.offset)
      } else if (step === Step.complete) {
        const control = parser.control.subarray(0, parser.controlLength)
        const delivery = inbound.complete(parser.segment, control)
        if (delivery === Delivery.refused) {
          this.fault = inbound.refused
          return
        }
        this.onSegment(delivery, control)
        if (delivery !== Delivery.nothing) {
          this.deliveries.push(names.find(([, value]) => value === delivery)![0])
        }
      } else {
        this.fault = parser.fault
        return
      }
    }
  }

  /** The Terminate that a provider would send now. */
  terminate(): Uint8Array | undefined {
    if (this.fault === undefined) return undefined
    const { control, controlLength, segment } = this.parser
    return Terminate.encode(
      Terminate.answerTo(this.fault),
      segment,
      control.subarray(0, controlLength)
    )
  }

  #place = 0
  #at = 0
}
