/**
 * The main thread's way into a worker: records about its lanes, published and rung for once per
 * turn. A record that finds no room changes nothing, and the worker will ring when there is.
 */
import { copyOctets } from "../../../schema/copyBytes.ts"
import { Doorbell } from "./doorbell.ts"
import { At, putHead, recordWords, textBytesOf, wordsFor, type WorkerMemory } from "./records.ts"
import { RingProducer } from "./ring.ts"

/** The producer of one worker's inbox. */
export class Inlet {
  readonly #ring: RingProducer
  readonly #bytes: Uint8Array
  readonly #bell: Doorbell
  #filled = false

  constructor({ inbox, workerBell }: Pick<WorkerMemory, "inbox" | "workerBell">) {
    this.#ring = new RingProducer(new Int32Array(inbox))
    this.#bytes = new Uint8Array(inbox)
    this.#bell = new Doorbell(new Int32Array(workerBell))
  }

  /** Bytes that the largest record carries. */
  get recordBytes(): number {
    return textBytesOf(this.#ring.largest)
  }

  /** Whether records wait for a flush. */
  get filled(): boolean {
    return this.#filled
  }

  /** Writes a record; false when there is no room. */
  record(
    kind: number,
    slot: number,
    generation: number,
    a: number,
    bytes: Uint8Array | undefined
  ): boolean {
    const length = bytes === undefined ? recordWords : wordsFor(bytes.length)
    let at = this.#ring.reserve(length)
    if (at < 0) {
      // The wish for a doorbell comes before a last look, so no answer is missed.
      this.#ring.awaitRoom()
      at = this.#ring.reserve(length)
      if (at < 0) return false
    }
    const { words } = this.#ring
    putHead(words, at, kind, slot, generation, a)
    if (bytes !== undefined) {
      words[at + At.text] = bytes.length
      copyOctets(this.#bytes, (at + At.text + 1) * 4, bytes, 0, bytes.length)
    }
    this.#filled = true
    return true
  }

  /** Publishes what was recorded, and wakes the worker for it. */
  flush(): void {
    if (!this.#filled) return
    this.#filled = false
    this.#ring.publish()
    this.#bell.ring()
  }

  ring(): void {
    this.#bell.ring()
  }
}
