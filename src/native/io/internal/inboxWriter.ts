/**
 * Publishes the main thread's records to a worker, with one doorbell per turn. A record that finds
 * no room changes nothing, and the worker rings when there is.
 */
import { Doorbell } from "./doorbell.ts"
import { textBytesOf, type WorkerMemory, writeRecord } from "./records.ts"
import { RingProducer } from "./ring.ts"

/** The producer of one worker's inbox. */
export class InboxWriter {
  readonly #ring: RingProducer
  readonly #bell: Doorbell
  #hasRecords = false

  constructor({ inbox, workerBell }: Pick<WorkerMemory, "inbox" | "workerBell">) {
    this.#ring = new RingProducer(new Int32Array(inbox))
    this.#bell = new Doorbell(new Int32Array(workerBell))
  }

  /** Bytes that the largest record carries. */
  get recordBytes(): number {
    return textBytesOf(this.#ring.largest)
  }

  /** Whether records wait for a flush. */
  get hasRecords(): boolean {
    return this.#hasRecords
  }

  /** Writes a record; false when there is no room. */
  record(
    kind: number,
    slot: number,
    generation: number,
    first: number,
    text: Uint8Array | undefined
  ): boolean {
    let isWritten = writeRecord(this.#ring, kind, slot, generation, text, first)
    if (!isWritten) {
      // Set the waiting flag before the second attempt: otherwise the worker could make room in
      // between and not ring.
      this.#ring.awaitRoom()
      isWritten = writeRecord(this.#ring, kind, slot, generation, text, first)
    }
    this.#hasRecords ||= isWritten
    return isWritten
  }

  /** Publishes the records, and wakes the worker for them. */
  flush(): void {
    if (!this.#hasRecords) return
    this.#hasRecords = false
    this.#ring.publish()
    this.#bell.ring()
  }

  ring(): void {
    this.#bell.ring()
  }
}
