/** An open device: its operations, what is made on it, and its events. */
import { constants as system } from "node:os"
import type { Disconnect } from "../verbs/Connection.ts"
import type { DeviceEvent, DeviceInfo } from "../verbs/Device.ts"
import { Resource } from "../verbs/provider/resources.ts"
import { Block } from "./block.ts"
import { ControlQueue } from "./control.ts"
import { constants, offsets, sizes } from "./layout.ts"
import {
  type Libraries,
  NativeFailure,
  type NativeFunction,
  type NativeOperation,
  type Pointer
} from "./library.ts"
import type { FoundDevice } from "./listing.ts"
import { type PortGid, queryGids } from "./ports.ts"
import type { Resolved } from "./settings.ts"
import { watchNode } from "./removal.ts"
import { type Watch, watch } from "./watch.ts"

/** Events of completion queues that are read in one turn of the event loop. */
const eventsMax = 64

const at = offsets.ibv_context
const { errno } = system
const c = constants

/** Posting and polling: functions of the driver, which its context points to. */
export interface Operations {
  readonly postSend: NativeOperation
  readonly postReceive: NativeOperation
  readonly poll: NativeOperation
  readonly notify: NativeOperation
}

/** A work queue, or what else posts: it gets the completions of its posts, by their numbers. */
export interface CompletionTarget {
  /** The post of a number has ended; `view` has the `ibv_wc` at `at`. */
  readonly completed: (index: number, view: DataView, at: number) => void
}

/** A completion queue, as its device sees it. */
export interface DeviceQueue {
  readonly reserved: number
  readonly onEvent: () => void
}

/** A queue pair, as its device sees it. */
export interface DeviceQueuePair {
  fail(why: Disconnect): void
  failFatally(detail: string): void
  /** A completion queue has overflowed or failed. */
  onQueueFailed(queue: Pointer): void
  /** The first message has come. */
  readonly onFirstMessage: (() => void) | undefined
}

/** The parts of an open device. */
export interface OpenDeviceParts {
  readonly libraries: Libraries
  readonly settings: Resolved
  readonly found: FoundDevice
  readonly context: Pointer
  /** `ibv_comp_channel` */
  readonly channel: Pointer
  readonly emit: (event: DeviceEvent) => void
}

/**
 * Devices that are open. Until it is closed, a device may write to memory that was registered, also
 * when the program has forgotten it.
 */
const open = new Set<OpenDevice>()

/** Fails if one of the owners is released. */
export const validateOwners = (owners: ReadonlyArray<Resource>): void => {
  if (owners.every(({ isReleased }) => !isReleased)) return
  throw new NativeFailure("the owner is released", errno.ECANCELED)
}

export class OpenDevice {
  readonly libraries: Libraries
  readonly settings: Resolved
  readonly info: DeviceInfo
  readonly context: Pointer
  readonly channel: Pointer
  readonly emit: (event: DeviceEvent) => void
  readonly control = new ControlQueue()
  readonly resource: Resource
  readonly operations: Operations
  /** Receivers of completions, by serial numbers that are not used again. */
  readonly targets = new Map<number, CompletionTarget>()
  readonly completionQueues = new Map<Pointer, DeviceQueue>()
  readonly queuePairs = new Map<Pointer, DeviceQueuePair>()
  /** Protection domains by their numbers. */
  readonly domains = new Map<number, Pointer>()
  /** Memory that the device may reach, by its registrations. */
  readonly registered = new Map<Pointer, SharedArrayBuffer>()
  /** Called when the device is removed or closed. */
  readonly onEnd = new Set<() => void>()
  isRemoved = false
  #gids: ReadonlyArray<PortGid>
  #lastSerial = 0
  readonly #watches: ReadonlyArray<Watch>
  readonly #event: Block

  constructor({ channel, context, emit, found, libraries, settings }: OpenDeviceParts) {
    this.libraries = libraries
    this.settings = settings
    const { limits, name, ports } = found
    this.info = { name, ports, limits }
    this.context = context
    this.channel = channel
    this.emit = emit
    this.#gids = found.gids
    this.#event = new Block(libraries, sizes.ibv_async_event + 8)
    this.operations = {
      postSend: libraries.functionAt(context + at["ops.post_send"], "post"),
      postReceive: libraries.functionAt(context + at["ops.post_recv"], "post"),
      poll: libraries.functionAt(context + at["ops.poll_cq"], "poll"),
      notify: libraries.functionAt(context + at["ops.req_notify_cq"], "notify")
    }
    const native = libraries.pointerAt(context + at.device)
    const node = libraries.textAt(native + offsets.ibv_device.dev_name)
    const descriptor = (address: Pointer) => libraries.uint32At(address)
    this.#watches = [
      watchNode(node, () => this.remove()),
      watch(libraries, descriptor(context + at.async_fd), () => this.#asyncEvent()),
      watch(libraries, descriptor(channel + offsets.ibv_comp_channel.fd), () =>
        this.#completionEvent()
      )
    ]
    this.resource = new Resource("device", [], () => this.#close())
    open.add(this)
    if (this.polls) this.#poll()
  }

  /** Whether completions are looked for instead of waited for. */
  get polls(): boolean {
    return this.settings.completions === "poll"
  }

  /** The GIDs of a port, as they were at the last look. */
  gids(port: number): ReadonlyArray<PortGid> {
    return this.#gids.filter((entry) => entry.port === port)
  }

  get allGids(): ReadonlyArray<PortGid> {
    return this.#gids
  }

  /** Asks for the GIDs, and emits the changes. */
  async refreshGids(): Promise<void> {
    const before = new Map(this.#gids.map((entry) => [`${entry.port} ${entry.index}`, entry.gid]))
    this.#gids = await queryGids(this.libraries, this.context)
    for (const { gid, index, port } of this.#gids) {
      const key = `${port} ${index}`
      if (before.get(key) !== gid) this.emit({ _tag: "GidChanged", port, index })
      before.delete(key)
    }
    for (const key of before.keys()) {
      const [port = 0, index = 0] = key.split(" ").map(Number)
      this.emit({ _tag: "GidChanged", port, index })
    }
  }

  /** Assigns serial numbers to receivers of completions. */
  addTargets<Name extends string>(
    targets: Readonly<Record<Name, CompletionTarget>>
  ): Readonly<Record<Name, number>> {
    const serials = Object.entries<CompletionTarget>(targets).map(([name, target]) => {
      this.#lastSerial = (this.#lastSerial + 1) >>> 0
      this.targets.set(this.#lastSerial, target)
      return [name, this.#lastSerial] as const
    })
    return Object.fromEntries(serials) as Record<Name, number>
  }

  deleteTargets(serials: Readonly<Record<string, number>>): void {
    for (const serial of Object.values(serials)) this.targets.delete(serial)
  }

  /**
   * Creates something on owners that may be released before, or meanwhile: then it is undone. What
   * `use` makes of it is released with them. For jobs of the control queue.
   */
  async create<A>(
    owners: ReadonlyArray<Resource>,
    undo: NativeFunction,
    make: () => Promise<Pointer>,
    use: (pointer: Pointer) => A
  ): Promise<A> {
    validateOwners(owners)
    const pointer = await make()
    try {
      validateOwners(owners)
      return use(pointer)
    } catch (error) {
      await this.libraries.later(undo, pointer)
      throw error
    }
  }

  /** The device has gone: its work ends in memory. */
  remove(): void {
    if (this.isRemoved) return
    this.isRemoved = true
    this.resource.markRemoved()
    for (const queuePair of this.queuePairs.values()) queuePair.fail("device-removed")
    this.emit({ _tag: "DeviceRemoved" })
  }

  #close(): void {
    const { control, libraries } = this
    for (const end of this.onEnd) end()
    for (const { close } of this.#watches) close()
    control.addRelease(() => libraries.later("ibv_destroy_comp_channel", this.channel))
    control.addLast(async () => {
      await libraries.later("ibv_close_device", this.context)
      open.delete(this)
    })
  }

  #completionEvent(): void {
    const { address } = this.#event
    const { channel, libraries } = this
    // Waiters run in between and may post what ends at once: the event loop needs its turn, too.
    for (let events = 0; events < eventsMax; events++) {
      if (libraries.now("ibv_get_cq_event", channel, address, address + 8) !== 0) return
      const pointer = this.#event.pointer(0)
      libraries.now("ibv_ack_cq_events", pointer, 1)
      this.completionQueues.get(pointer)?.onEvent()
    }
  }

  #asyncEvent(): void {
    const { address, view } = this.#event
    const { context, libraries } = this
    while (libraries.now("ibv_get_async_event", context, address) === 0) {
      const element = this.#event.pointer(offsets.ibv_async_event.element)
      const port = view.getInt32(offsets.ibv_async_event.element, true)
      const type = view.getInt32(offsets.ibv_async_event.event_type, true)
      libraries.now("ibv_ack_async_event", address)
      this.#handle(type, element, port)
    }
  }

  #handle(type: number, element: Pointer, port: number): void {
    switch (type) {
      case c.IBV_EVENT_PORT_ACTIVE:
        return this.emit({ _tag: "PortUp", port })
      case c.IBV_EVENT_PORT_ERR:
        return this.emit({ _tag: "PortDown", port })
      case c.IBV_EVENT_GID_CHANGE:
        return this.control.addRelease(() => this.refreshGids())
      case c.IBV_EVENT_DEVICE_FATAL:
        return this.remove()
      case c.IBV_EVENT_QP_FATAL:
      case c.IBV_EVENT_QP_REQ_ERR:
      case c.IBV_EVENT_QP_ACCESS_ERR:
        return this.queuePairs.get(element)?.failFatally(`asynchronous event ${type}`)
      case c.IBV_EVENT_COMM_EST:
        return this.queuePairs.get(element)?.onFirstMessage?.()
      case c.IBV_EVENT_CQ_ERR:
        for (const pair of this.queuePairs.values()) pair.onQueueFailed(element)
    }
  }

  /** Looks for completions at each turn of the event loop, for as long as the device is open. */
  #poll(): void {
    const turn = (): void => {
      if (!open.has(this)) return
      for (const queue of this.completionQueues.values()) if (queue.reserved > 0) queue.onEvent()
      setImmediate(turn)
    }
    setImmediate(turn)
  }
}
