/**
 * The end of a flush: how it is waited for, and the marker that shows it.
 *
 * A send without `signalled` makes no completion, so behind the last one nothing would tell that
 * the flush is over. A marker is posted behind it: an empty write, whose flush is the last.
 */
import { SendRequest } from "../verbs/WorkRequest.ts"
import type { IbCompletionQueue } from "./completions.ts"
import type { CompletionTarget } from "./openDevice.ts"
import type { IbSendPlace } from "./workMemory.ts"

/** Looks at once for the end of a flush before they are spaced out. */
const quickLooks = 20

/** Waits between two looks for the end of a flush. */
export const pause = (look: number): Promise<void> =>
  new Promise((resolve) =>
    look < quickLooks ? setImmediate(resolve) : setTimeout(resolve, Math.min(look / quickLooks, 10))
  )

const emptyWrite = Object.assign(new SendRequest(), { opcode: "write" })

/** The marker of a queue pair, which is posted once in a flush. */
export class Marker implements CompletionTarget {
  readonly #queue: IbCompletionQueue
  readonly #place: IbSendPlace
  readonly #onEnd: () => void
  #isPosted = false

  constructor(queue: IbCompletionQueue, place: IbSendPlace, onEnd: () => void) {
    this.#queue = queue
    this.#place = place
    this.#onEnd = onEnd
  }

  /** Posts it under a serial number, if the completion queue has a place for it. */
  post(serial: number, post: (place: IbSendPlace) => boolean): boolean {
    if (!this.#queue.addMarker()) return false
    this.#place.take(emptyWrite, 0)
    this.#place.setName(serial, 0)
    this.#isPosted = true
    if (!post(this.#place)) this.forget()
    return true
  }

  completed(): void {
    this.forget()
    this.#onEnd()
  }

  /** Its completion is not waited for any more. */
  forget(): void {
    if (this.#isPosted) this.#queue.removeMarker()
    this.#isPosted = false
  }
}
