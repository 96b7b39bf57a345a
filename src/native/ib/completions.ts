/** A completion queue of a device. What it holds is moved into memory, where polls find it. */
import type * as Effect from "effect/Effect"
import type { CompletionBatch, Status } from "../verbs/Completion.ts"
import { Resource } from "../verbs/provider/resources.ts"
import { SoftwareCompletionQueue } from "../verbs/software/completions.ts"
import { Block } from "./block.ts"
import { constants, offsets, sizes } from "./layout.ts"
import type { Pointer } from "./library.ts"
import type { DeviceQueue, OpenDevice } from "./openDevice.ts"

const wc = offsets.ibv_wc

/** Completions that are taken from the device at once. */
const batchSize = 64

const statuses: ReadonlyMap<number, Status> = new Map<number, Status>([
  [constants.IBV_WC_SUCCESS, "success"],
  [constants.IBV_WC_LOC_LEN_ERR, "local-length"],
  [constants.IBV_WC_LOC_QP_OP_ERR, "local-operation"],
  [constants.IBV_WC_LOC_EEC_OP_ERR, "local-operation"],
  [constants.IBV_WC_LOC_PROT_ERR, "local-protection"],
  [constants.IBV_WC_WR_FLUSH_ERR, "flushed"],
  [constants.IBV_WC_MW_BIND_ERR, "local-operation"],
  [constants.IBV_WC_BAD_RESP_ERR, "remote-invalid"],
  [constants.IBV_WC_LOC_ACCESS_ERR, "local-protection"],
  [constants.IBV_WC_REM_INV_REQ_ERR, "remote-invalid"],
  [constants.IBV_WC_REM_ACCESS_ERR, "remote-access"],
  [constants.IBV_WC_REM_OP_ERR, "remote-operation"],
  [constants.IBV_WC_RETRY_EXC_ERR, "retry-exceeded"],
  [constants.IBV_WC_RNR_RETRY_EXC_ERR, "rnr-retry-exceeded"],
  [constants.IBV_WC_RESP_TIMEOUT_ERR, "retry-exceeded"]
])

/** The status of a completion. */
export const statusAt = (view: DataView, at: number): Status =>
  statuses.get(view.getInt32(at + wc.status, true)) ?? "fatal"

export class IbCompletionQueue extends SoftwareCompletionQueue implements DeviceQueue {
  readonly resource: Resource
  readonly settled: Effect.Effect<void>
  readonly pointer: Pointer
  readonly #device: OpenDevice
  readonly #entries: Block
  /** Whether the device's queue is there: it is not polled or armed once it is to be destroyed. */
  #isAlive = true

  constructor(device: OpenDevice, capacity: number, pointer: Pointer) {
    super(capacity)
    this.pointer = pointer
    this.#device = device
    this.#entries = new Block(device.libraries, batchSize * sizes.ibv_wc)
    this.settled = device.control.idle
    device.completionQueues.set(pointer, this)
    this.resource = new Resource("completion queue", [device.resource], () => this.#released())
    this.#arm()
  }

  override poll(batch: CompletionBatch): number {
    this.pump()
    return super.poll(batch)
  }

  /** The device has said that there are completions. */
  onEvent(): void {
    this.begin()
    // What comes between a look and the request for an event would make none: so look after it.
    this.#arm()
    this.pump()
    this.end()
  }

  /** Takes all that the device has. */
  pump(): void {
    if (!this.#isAlive) return
    const { operations, targets } = this.#device
    const { address, view } = this.#entries
    let count: number
    do {
      count = operations.poll(this.pointer, batchSize, address)
      for (let index = 0; index < count; index++) {
        const at = index * sizes.ibv_wc
        // A target that is gone was flushed in memory; what the device says of it comes too late.
        const target = targets.get(view.getUint32(at + wc.wr_id + 4, true))
        target?.completed(view.getUint32(at + wc.wr_id, true), view, at)
      }
    } while (count === batchSize)
  }

  #arm(): void {
    const { operations, polls } = this.#device
    if (this.#isAlive && !polls) operations.notify(this.pointer, 0)
  }

  #released(): void {
    this.releaseUnsafe()
    const { completionQueues, control, libraries } = this.#device
    control.addRelease(() => {
      this.#isAlive = false
      completionQueues.delete(this.pointer)
      return libraries.later("ibv_destroy_cq", this.pointer)
    })
  }
}
