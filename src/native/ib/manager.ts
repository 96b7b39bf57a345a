/**
 * The connection manager of the kernel, through librdmacm: identifiers, and their events.
 *
 * Each event is copied and acknowledged at once, so that the destruction of an identifier, which
 * waits for that, never waits long.
 */
import * as Effect from "effect/Effect"
import { constants as system } from "node:os"
import { Block } from "./block.ts"
import type { ControlQueue } from "./control.ts"
import { constants, offsets } from "./layout.ts"
import {
  type Argument,
  type Libraries,
  NativeFailure,
  type NativeFunction,
  type Pointer
} from "./library.ts"
import { watch } from "./watch.ts"

const at = offsets.rdma_cm_event
const { errno } = system

/** An event of an identifier. */
export interface ManagerEvent {
  readonly type: number
  /** Of a failure: an errno below zero, or the reason of a rejection. */
  readonly status: number
  readonly id: Pointer
  readonly privateData: Uint8Array<ArrayBuffer>
  /** Resources of the sender for reads of the receiver, and those that it wants there. */
  readonly responderResources: number
  readonly initiatorDepth: number
}

/** One side of a connection, or a listener, in the kernel's connection manager. */
export class ManagerId {
  readonly pointer: Pointer
  /** Gets the events that `next` does not wait for. */
  onEvent: ((event: ManagerEvent) => void) | undefined = undefined
  readonly next: Effect.Effect<ManagerEvent>
  readonly #manager: Manager
  readonly #waiting: Array<ManagerEvent> = []
  #resume: ((event: ManagerEvent) => void) | undefined = undefined

  constructor(manager: Manager, pointer: Pointer) {
    this.#manager = manager
    this.pointer = pointer
    manager.ids.set(pointer, this)
    this.next = Effect.callback<ManagerEvent>((resume) => {
      const event = this.#waiting.shift()
      if (event !== undefined) return resume(Effect.succeed(event))
      this.#resume = (event) => resume(Effect.succeed(event))
      return Effect.sync(() => (this.#resume = undefined))
    })
  }

  receive(event: ManagerEvent): void {
    const resume = this.#resume
    this.#resume = undefined
    if (resume !== undefined) resume(event)
    else if (this.onEvent !== undefined) this.onEvent(event)
    else this.#waiting.push(event)
  }

  /** Gives the events without a waiter, and all later ones, to `handler`. */
  handleEvents(handler: (event: ManagerEvent) => void): void {
    this.onEvent = handler
    for (const event of this.#waiting.splice(0)) handler(event)
  }

  get isDestroyed(): boolean {
    return this.#manager.ids.get(this.pointer) !== this
  }

  /** Calls with the identifier, unless it is to be destroyed. For jobs of the control queue. */
  call(name: NativeFunction, ...args: ReadonlyArray<Argument>): Promise<number> {
    return this.isDestroyed
      ? Promise.reject(new NativeFailure(name, errno.ECANCELED))
      : this.#manager.libraries.later(name, this.pointer, ...args)
  }

  /** Calls with it when its turn has come, and cares for no failure. */
  tell(name: NativeFunction, ...args: ReadonlyArray<Argument>): void {
    const { control, libraries } = this.#manager
    // The destruction comes in a later job, also if it is asked for meanwhile.
    if (!this.isDestroyed) control.addRelease(() => libraries.later(name, this.pointer, ...args))
  }

  /** Again is harmless. */
  destroy(): void {
    if (!this.isDestroyed) this.#manager.destroy(this)
  }
}

export class Manager {
  readonly libraries: Libraries
  readonly control: ControlQueue
  readonly ids = new Map<Pointer, ManagerId>()
  readonly #channel: Pointer
  readonly #event: Block
  readonly #stopWatching: () => void
  #isClosed = false

  constructor(libraries: Libraries, control: ControlQueue, channel: Pointer) {
    this.libraries = libraries
    this.control = control
    this.#channel = channel
    this.#event = new Block(libraries, 8)
    const descriptor = libraries.uint32At(channel + offsets.rdma_event_channel.fd)
    this.#stopWatching = watch(libraries, descriptor, () => this.#readEvents()).close
  }

  /** Makes an identifier. For jobs of the control queue. */
  async create(): Promise<ManagerId> {
    if (this.#isClosed) throw new NativeFailure("rdma_create_id", errno.ECANCELED)
    const made = new Block(this.libraries, 8)
    await this.libraries.later("rdma_create_id", this.#channel, made, 0, constants.RDMA_PS_TCP)
    return new ManagerId(this, made.pointer(0))
  }

  destroy({ pointer }: ManagerId): void {
    this.ids.delete(pointer)
    this.control.addRelease(() => this.libraries.later("rdma_destroy_id", pointer))
  }

  /** Destroys all identifiers, also those of jobs that are waiting, and then the channel. */
  close(): void {
    this.control.addRelease(async () => {
      this.#isClosed = true
      for (const pointer of this.ids.keys()) {
        this.ids.delete(pointer)
        // It waits for its last event, so events are read until then.
        await this.libraries.later("rdma_destroy_id", pointer)
      }
      this.#stopWatching()
      await this.libraries.later("rdma_destroy_event_channel", this.#channel)
    })
  }

  #readEvents(): void {
    const { address } = this.#event
    while (this.libraries.now("rdma_get_cm_event", this.#channel, address) === 0) {
      const pointer = this.#event.pointer(0)
      const { event, listener } = this.#copy(pointer)
      this.libraries.now("rdma_ack_cm_event", pointer)
      this.#deliver(event, listener)
    }
  }

  #deliver(event: ManagerEvent, listener: Pointer): void {
    if (event.type !== constants.RDMA_CM_EVENT_CONNECT_REQUEST) {
      this.ids.get(event.id)?.receive(event)
      return
    }
    const asked = new ManagerId(this, event.id)
    const target = this.ids.get(listener)
    if (target === undefined) asked.destroy()
    else target.receive(event)
  }

  #copy(pointer: Pointer): { readonly event: ManagerEvent; readonly listener: Pointer } {
    const { libraries } = this
    const length = at["param.conn.initiator_depth"] + 1
    const bytes = libraries.bytesAt(pointer, length)
    const view = new DataView(bytes.buffer)
    const address = (field: number) => Number(view.getBigUint64(field, true))
    const dataLength = view.getUint8(at["param.conn.private_data_len"])
    const data = address(at["param.conn.private_data"])
    const event: ManagerEvent = {
      type: view.getInt32(at.event, true),
      status: view.getInt32(at.status, true),
      id: address(at.id),
      privateData:
        data === 0 || dataLength === 0 ? new Uint8Array(0) : libraries.bytesAt(data, dataLength),
      responderResources: view.getUint8(at["param.conn.responder_resources"]),
      initiatorDepth: view.getUint8(at["param.conn.initiator_depth"])
    }
    return { event, listener: address(at.listen_id) }
  }
}
