/**
 * The connection manager of the kernel, through librdmacm: identifiers, and their events.
 *
 * Each event is copied and acknowledged at once, so that the destruction of an identifier, which
 * waits for that, never waits long.
 */
import * as Effect from "effect/Effect"
import { closeSync, openSync } from "node:fs"
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
  /** The identifier that a connect request has made, to answer it with. */
  readonly request: ManagerId | undefined
  readonly privateData: Uint8Array<ArrayBuffer>
  /** Resources of the sender for reads of the receiver, and those that it wants there. */
  readonly responderResources: number
  readonly initiatorDepth: number
}

/** One side of a connection, or a listener, in the kernel's connection manager. */
export class ManagerId {
  readonly pointer: Pointer
  /** Whether it is to be destroyed: it is not called with any more, and gets no events. */
  isDestroyed = false
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
    if (this.isDestroyed) return event.request?.destroy()
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

  /** Calls with the identifier, unless it is to be destroyed. For jobs of the control queue. */
  call(name: NativeFunction, ...args: ReadonlyArray<Argument>): Promise<number> {
    return this.isDestroyed
      ? Promise.reject(new NativeFailure(name, errno.ECANCELED))
      : this.#manager.libraries.later(name, this.pointer, ...args)
  }

  /** Calls with it when its turn has come, and cares for no failure. */
  tell(name: NativeFunction, ...args: ReadonlyArray<Argument>): void {
    if (!this.isDestroyed) this.#manager.addCall(this, name, args)
  }

  /** Again is harmless. */
  destroy(): void {
    if (this.isDestroyed) return
    this.isDestroyed = true
    this.#manager.addDestruction(this)
  }
}

export class Manager {
  readonly libraries: Libraries
  readonly control: ControlQueue
  readonly ids = new Map<Pointer, ManagerId>()
  /** An identifier that is bound to the device for as long as the manager is open. */
  #anchor: ManagerId | undefined = undefined
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

  /**
   * Binds an identifier to the device's address, once. For jobs of the control queue.
   *
   * librdmacm opens each device by itself that an identifier is bound to, and keeps the last one
   * open when it is removed. As long as an identifier is bound, what it has opened is there.
   */
  async bindAnchor(address: Block): Promise<void> {
    if (this.#anchor !== undefined) return
    const id = await this.create()
    try {
      await id.call("rdma_bind_addr", address)
    } catch (error) {
      id.destroy()
      throw error
    }
    this.#anchor = id
  }

  /** Takes from librdmacm what it has opened of a removed device, whose driver waits for that. */
  async #letGo(): Promise<void> {
    const { libraries } = this
    const id = this.#anchor?.pointer
    const context = id === undefined ? 0 : libraries.pointerAt(id + offsets.rdma_cm_id.verbs)
    if (context === 0) return
    const nothing = openSync("/dev/null", "r")
    try {
      for (const field of [offsets.ibv_context.cmd_fd, offsets.ibv_context.async_fd]) {
        await libraries.later("dup2", nothing, libraries.uint32At(context + field))
      }
    } finally {
      closeSync(nothing)
    }
  }

  /** Adds a call, for which it is not too late until the destruction has begun. */
  addCall(id: ManagerId, name: NativeFunction, args: ReadonlyArray<Argument>): void {
    this.control.addRelease(() =>
      this.#isThere(id) ? this.libraries.later(name, id.pointer, ...args) : undefined
    )
  }

  addDestruction(id: ManagerId): void {
    this.control.addRelease(() => this.#destroy(id))
  }

  /** Destroys all identifiers, also those that come meanwhile, and then the channel. */
  close(isRemoved = false): void {
    this.control.addRelease(async () => {
      this.#isClosed = true
      if (isRemoved) await this.#letGo()
      for (const id of this.ids.values()) {
        id.isDestroyed = true
        // It waits for its last event, so events are read until then.
        await this.#destroy(id)
      }
      this.#stopWatching()
      await this.libraries.later("rdma_destroy_event_channel", this.#channel)
    })
  }

  #isThere(id: ManagerId): boolean {
    return this.ids.get(id.pointer) === id
  }

  /** After its channel nothing of an identifier is left, so a later destruction does nothing. */
  async #destroy(id: ManagerId): Promise<void> {
    if (!this.#isThere(id)) return
    this.ids.delete(id.pointer)
    // It fails if the kernel has no such identifier any more.
    await this.libraries.later("rdma_destroy_id", id.pointer).catch(() => 0)
  }

  #readEvents(): void {
    const { address } = this.#event
    while (this.libraries.now("rdma_get_cm_event", this.#channel, address) === 0) {
      const pointer = this.#event.pointer(0)
      const { event, id } = this.#copy(pointer)
      this.libraries.now("rdma_ack_cm_event", pointer)
      const target = this.ids.get(id)
      if (target === undefined) event.request?.destroy()
      else target.receive(event)
    }
  }

  /** The event, and the identifier that it is for. */
  #copy(pointer: Pointer): { readonly event: ManagerEvent; readonly id: Pointer } {
    const { libraries } = this
    const length = at["param.conn.initiator_depth"] + 1
    const bytes = libraries.bytesAt(pointer, length)
    const view = new DataView(bytes.buffer)
    const address = (field: number) => Number(view.getBigUint64(field, true))
    const dataLength = view.getUint8(at["param.conn.private_data_len"])
    const data = address(at["param.conn.private_data"])
    const type = view.getInt32(at.event, true)
    const isRequest = type === constants.RDMA_CM_EVENT_CONNECT_REQUEST
    const event: ManagerEvent = {
      type,
      status: view.getInt32(at.status, true),
      request: isRequest ? new ManagerId(this, address(at.id)) : undefined,
      privateData:
        data === 0 || dataLength === 0 ? new Uint8Array(0) : libraries.bytesAt(data, dataLength),
      responderResources: view.getUint8(at["param.conn.responder_resources"]),
      initiatorDepth: view.getUint8(at["param.conn.initiator_depth"])
    }
    return { event, id: address(isRequest ? at.listen_id : at.id) }
  }
}
