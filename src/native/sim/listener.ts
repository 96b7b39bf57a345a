/** Who waits for connections on a simulated device, and the requests that arrive. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Gid from "../../schema/Gid.ts"
import type {
  AcceptOptions,
  Address,
  Connection,
  ConnectRequest,
  Listener,
  ListenOptions
} from "../verbs/Connection.ts"
import { hold, Holding } from "../verbs/soft/holdings.ts"
import {
  type AcceptError,
  AddressInUse,
  InvalidAttribute,
  type ListenError,
  Released
} from "../verbs/VerbsError.ts"
import { accept, type Offer, privateDataLimits } from "./connection.ts"
import type { OpenDevice } from "./nic.ts"

/** Requests that wait for a program, as in sockets. */
const defaultBacklog = 128

/** A request that arrived. It is answered once. */
class SimRequest implements ConnectRequest {
  readonly peer: Address
  readonly privateData: Uint8Array
  readonly inboundReads: number
  readonly outboundReads: number
  readonly #device: OpenDevice
  readonly #offer: Offer
  readonly #unanswered: Set<SimRequest>

  constructor(device: OpenDevice, offer: Offer, unanswered: Set<SimRequest>) {
    this.#device = device
    this.#offer = offer
    this.#unanswered = unanswered
    this.peer = offer.address
    this.privateData = offer.privateData
    this.inboundReads = offer.outboundReads
    this.outboundReads = offer.inboundReads
  }

  accept(options: AcceptOptions): Effect.Effect<Connection, AcceptError, Scope.Scope> {
    return accept(this.#device, this.#offer, options, () => this.#unanswered.delete(this))
  }

  reject(privateData: Uint8Array = new Uint8Array(0)): Effect.Effect<void> {
    return Effect.sync(() => this.rejectUnsafe(privateData))
  }

  rejectUnsafe(privateData: Uint8Array): void {
    if (!this.#unanswered.delete(this)) return
    const said = privateData.slice(0, privateDataLimits.reject)
    const { nic } = this.#device
    nic.network.manage(nic, this.#offer.gid, () => this.#offer.reject("rejected", said))
  }
}

/** A listener on a simulated device. */
export class SimListener implements Listener {
  readonly address: Address
  readonly holding: Holding
  readonly take: Effect.Effect<ConnectRequest, Released>
  readonly #device: OpenDevice
  readonly #requests: Queue.Queue<SimRequest, Released>
  /** Requests that wait to be taken, or were taken and have no answer. */
  readonly #unanswered = new Set<SimRequest>()

  constructor(device: OpenDevice, address: Address, requests: Queue.Queue<SimRequest, Released>) {
    this.address = address
    this.#device = device
    this.#requests = requests
    this.take = Queue.take(requests)
    this.holding = new Holding("listener", [device.holding], () => this.#release())
    device.nic.listeners.set(address.port, this)
  }

  /** Somebody wants to connect; `false` if too many wait already. */
  offer(offer: Offer): boolean {
    const request = new SimRequest(this.#device, offer, this.#unanswered)
    const hasPlace = Queue.offerUnsafe(this.#requests, request)
    if (hasPlace) this.#unanswered.add(request)
    return hasPlace
  }

  #release(): void {
    this.#device.nic.listeners.delete(this.address.port)
    for (const request of this.#unanswered) request.rejectUnsafe(new Uint8Array(0))
    const reason = this.#device.isRemoved ? "device-removed" : "released"
    const gone = new Released({ resource: `listener on ${this.address.port}`, reason })
    Queue.failCauseUnsafe(this.#requests, Cause.fail(gone))
  }
}

/** Listens on a device. */
export const listen = Effect.fnUntraced(function* (
  device: OpenDevice,
  { backlog = defaultBacklog, host, port = 0 }: ListenOptions
): Effect.fn.Return<Listener, ListenError, Scope.Scope> {
  const { nic } = device
  if (device.isRemoved || device.holding.isReleased) {
    const reason = device.isRemoved ? "device-removed" : "released"
    return yield* new Released({ resource: nic.name, reason })
  }
  const own = Gid.toAddress(nic.gid)
  if (host !== undefined && Gid.fromAddress(host) !== nic.gid) {
    const detail = `${host} is not ${own}, the device's address`
    return yield* new InvalidAttribute({ operation: "listen", attribute: "host", detail })
  }
  if (nic.listeners.has(port)) return yield* new AddressInUse({ host: own, port })
  const requests = yield* Queue.bounded<SimRequest, Released>(backlog)
  const address = { host: own, port: port === 0 ? nic.newPort() : port }
  return yield* hold(Effect.sync(() => new SimListener(device, address, requests)))
})
