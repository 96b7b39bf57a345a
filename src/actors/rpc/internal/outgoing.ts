/** Work for the send queue of a connection instance: messages, reads and writes. */
import { ok as assert } from "node:assert/strict"
import type { Completion, Status } from "../../../native/verbs/Completion.ts"
import type { Region } from "../../../native/verbs/Region.ts"
import type { SendRequest } from "../../../native/verbs/WorkRequest.ts"
import type { ChunkSegment } from "../../../schema/rpc/RpcRdmaMessage.ts"
import type { XdrWriter } from "../../../schema/rpc/Xdr.ts"
import type { Work } from "../../rdma/CompletionRouter.ts"

/** Buffers of equal size, one behind the other in a region. */
export interface Buffers {
  readonly region: Region
  readonly bytes: number
  readonly count: number
}

/** Where work was posted. */
interface SendPort {
  /** Work has completed, and with it all that was posted before. */
  sent(work: Outgoing, status: Status): void
}

/** A message that is written when there is a place for it. */
export interface Writable {
  write(to: XdrWriter): unknown
}

export type Done = (status: Status) => void

/** Work for the send queue that waits for a place, or is posted. */
export abstract class Outgoing implements Work {
  readonly #port: SendPort
  readonly #done: Done | undefined
  id = 0
  /** The place of a message among the buffers. */
  slot = -1

  constructor(port: SendPort, done: Done | undefined) {
    this.#port = port
    this.#done = done
  }

  abstract readonly needsSlot: boolean

  abstract fill(request: SendRequest, buffers: Buffers, writer: XdrWriter): void

  completed({ status }: Completion): void {
    this.#port.sent(this, status)
  }

  end(status: Status): void {
    this.#done?.(status)
  }
}

export class OutgoingMessage extends Outgoing {
  readonly needsSlot = true
  readonly #message: Writable | Uint8Array
  readonly #invalidate: number

  constructor(
    port: SendPort,
    message: Writable | Uint8Array,
    invalidate: number,
    done: Done | undefined
  ) {
    super(port, done)
    this.#message = message
    this.#invalidate = invalidate
  }

  fill(request: SendRequest, { bytes, region }: Buffers, writer: XdrWriter): void {
    const offset = this.slot * bytes
    const message = this.#message
    writer.into(region.bytes, offset)
    if (message instanceof Uint8Array) writer.raw(message)
    else message.write(writer)
    assert(writer.length <= bytes, "a message that is longer than its buffer")
    request.opcode = this.#invalidate === 0 ? "send" : "send-invalidate"
    request.invalidate = this.#invalidate
    request.scatterList.clear().add(region, offset, writer.length)
  }
}

export class Transfer extends Outgoing {
  readonly needsSlot = false
  readonly #opcode: "read" | "write"
  readonly #local: LocalMemory
  readonly #remote: ChunkSegment

  constructor(
    port: SendPort,
    [opcode, local, remote]: ["read" | "write", LocalMemory, ChunkSegment],
    done: Done
  ) {
    super(port, done)
    this.#opcode = opcode
    this.#local = local
    this.#remote = remote
  }

  fill(request: SendRequest): void {
    const { offset, region } = this.#local
    request.opcode = this.#opcode
    request.scatterList.clear().add(region, offset, this.#remote.length)
    request.remote(this.#remote.handle, Number(this.#remote.offset))
  }
}

/** A place in memory of this side. */
export interface LocalMemory {
  readonly region: Region
  readonly offset: number
}
