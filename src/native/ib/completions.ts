/** A completion queue of a device. What it holds is moved into memory, where polls find it. */
import type * as Effect from "effect/Effect"
import type { Completion, CompletionBatch, Status } from "../verbs/Completion.ts"
import { Resource } from "../verbs/provider/resources.ts"
import { SoftwareCompletionQueue } from "../verbs/software/completions.ts"
import { Block } from "./block.ts"
import { constants, offsets, sizes } from "./layout.ts"
import type { Pointer } from "./library.ts"
import { markerPlaces } from "./listing.ts"
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

const statusAt = (view: DataView, at: number): Status =>
  statuses.get(view.getInt32(at + wc.status, true)) ?? "fatal"

/** The status of a send. `isUsable` is false if it named memory that it may not use. */
export const sendStatusAt = (view: DataView, at: number, isUsable: boolean): Status => {
  const status = statusAt(view, at)
  // Soft-RoCE does not say that it was the memory.
  return status === "local-operation" && !isUsable ? "local-protection" : status
}

/** The status of a receive. */
export const receiveStatusAt = (view: DataView, at: number, isUsable: boolean): Status => {
  const status = statusAt(view, at)
  // Soft-RoCE does not say whether it was the memory or the length.
  const isVague = status === "local-operation" || status === "remote-invalid"
  if (!isVague) return status
  return isUsable ? "local-length" : "local-protection"
}

/** The kind of a receive, which only a successful one has. */
export const receiveKindAt = (view: DataView, at: number): "receive" | "receive-immediate" =>
  statusAt(view, at) === "success" && view.getInt32(at + wc.opcode, true) !== constants.IBV_WC_RECV
    ? "receive-immediate"
    : "receive"

/** Fills in what came with a message. */
export const describeReceived = (ended: Completion, view: DataView, at: number): void => {
  ended.length = view.getUint32(at + wc.byte_len, true)
  const flags = view.getUint32(at + wc.wc_flags, true)
  if ((flags & constants.IBV_WC_WITH_IMM) !== 0) {
    ended.immediate = view.getUint32(at + wc.imm_data)
  }
  if ((flags & constants.IBV_WC_WITH_INV) !== 0) {
    ended.invalidated = view.getUint32(at + wc.invalidated_rkey, true)
  }
}

export class IbCompletionQueue extends SoftwareCompletionQueue implements DeviceQueue {
  readonly resource: Resource
  readonly settled: Effect.Effect<void>
  readonly pointer: Pointer
  readonly #device: OpenDevice
  readonly #entries: Block
  /** Whether the device's queue is there: it is not polled or armed once it is to be destroyed. */
  #isAlive = true
  /** Markers that are on their way here. */
  #markers = 0

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

  /** Reserves a place for a marker, if there is one. */
  addMarker(): boolean {
    if (this.#markers === markerPlaces) return false
    this.#markers += 1
    return true
  }

  removeMarker(): void {
    this.#markers -= 1
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
