/**
 * Connections through the kernel's connection manager: request, reply, ready to use.
 *
 * The queue pair is not one of librdmacm's: it exists before the connection and outlives it. So
 * this side takes it to its states, with the attributes that the manager has agreed on.
 */
import * as Effect from "effect/Effect"
import * as Gid from "../../schema/Gid.ts"
import type { Disconnect } from "../verbs/Connection.ts"
import { addressText, type IncomingRequest } from "../verbs/provider/connect.ts"
import { ProviderConnection, type ResolvedConnectParams } from "../verbs/provider/connection.ts"
import { defaults } from "../verbs/QueuePairState.ts"
import {
  type AcceptError,
  type ConnectError,
  ConnectRejected,
  type ModifyError,
  Unreachable
} from "../verbs/VerbsError.ts"
import { type Attributes, stateOnly } from "./attributes.ts"
import { Block } from "./block.ts"
import { describe } from "./failures.ts"
import { constants as c, offsets, sizes } from "./layout.ts"
import type { NativeFailure } from "./library.ts"
import type { Manager, ManagerEvent, ManagerId } from "./manager.ts"
import type { OpenDevice } from "./openDevice.ts"
import type { IbQueuePair } from "./queuePair.ts"
import { fromNative, isIpv4, isLinkLocal, toNative } from "./socketAddress.ts"

const attribute = offsets.ibv_qp_attr
const param = offsets.rdma_conn_param

/** Reasons of rejections: nothing listens there (InfiniBand, iWARP), the program said no. */
const invalidServiceId = 8
const connectionRefused = -111
const rejectedByProgram = 28

/** A device, and its connection manager. */
export interface Managed {
  readonly device: OpenDevice
  readonly manager: Manager
}

/** Reads that both sides agreed on. */
interface Reads {
  readonly inboundReads: number
  readonly outboundReads: number
}

/** One side of a connection. */
export class IbConnection extends ProviderConnection<IbQueuePair> {
  readonly settled: Effect.Effect<void>
  #id: ManagerId | undefined = undefined
  #isEstablished = false

  constructor(queuePair: IbQueuePair, peer: ProviderConnection["peer"]) {
    super(queuePair, peer)
    this.settled = queuePair.device.control.idle
  }

  /** Called with the identifier that the connection is made with; it ends with the connection. */
  attach(id: ManagerId): void {
    this.#id = id
    if (this.hasEnded) id.destroy()
  }

  /** Called when both sides are ready. */
  onEstablished(): void {
    this.#isEstablished = true
    this.queuePair.onFirstMessage = undefined
    this.#id?.handleEvents(({ type }) => {
      if (type === c.RDMA_CM_EVENT_DISCONNECTED) this.finish("peer-disconnected")
      if (type === c.RDMA_CM_EVENT_DEVICE_REMOVAL) this.finish("device-removed")
    })
  }

  /** Waiters of the end run in a task of theirs. */
  override onLeft(why: Disconnect): void {
    queueMicrotask(() => super.onLeft(why))
    const id = this.#id
    this.#id = undefined
    if (id === undefined || id.isDestroyed) return
    if (!this.#isEstablished || why === "device-removed") return id.destroy()
    id.tell("rdma_disconnect")
    // The other side answers, or does not for seconds: until then the kernel asks again.
    if (why === "peer-disconnected") id.destroy()
    else id.onEvent = () => id.destroy()
  }
}

const connParam = (
  { device }: Managed,
  { number }: IbQueuePair,
  params: ResolvedConnectParams,
  reads: Reads
): Block => {
  const data = params.privateData
  const block = new Block(device.libraries, sizes.rdma_conn_param + Math.max(1, data.length))
  const { bytes, view } = block
  bytes.set(data, sizes.rdma_conn_param)
  const address = data.length === 0 ? 0 : block.address + sizes.rdma_conn_param
  view.setBigUint64(param.private_data, BigInt(address), true)
  view.setUint8(param.private_data_len, data.length)
  view.setUint8(param.responder_resources, reads.inboundReads)
  view.setUint8(param.initiator_depth, reads.outboundReads)
  view.setUint8(param.flow_control, 1)
  view.setUint8(param.retry_count, params.retries)
  view.setUint8(param.rnr_retry_count, params.rnrRetries)
  view.setUint32(param.qp_num, number, true)
  return block
}

/** Attributes of a step that the manager has negotiated. */
const agreedAttributes = async (
  { device }: Managed,
  id: ManagerId,
  to: "rtr" | "rts",
  reads: Reads
): Promise<Attributes> => {
  const { libraries } = device
  const { block } = stateOnly(libraries, to)
  const mask = new Block(libraries, 8)
  await id.call("rdma_init_qp_attr", block, mask)
  const { view } = block
  view.setUint8(attribute.max_dest_rd_atomic, reads.inboundReads)
  view.setUint8(attribute.max_rd_atomic, reads.outboundReads)
  // The manager leaves it 0, which is the longest of all.
  view.setUint8(attribute.min_rnr_timer, defaults.minRnrTimer)
  return { block, mask: mask.view.getInt32(0, true) }
}

/** Takes the queue pair to `rts`, as both sides said. */
const moveToReady = (
  managed: Managed,
  connection: IbConnection,
  id: ManagerId,
  reads: Reads
): Effect.Effect<void, ModifyError> => {
  const { queuePair } = connection
  const to = (state: "rtr" | "rts") =>
    queuePair.move(state, connection, () => agreedAttributes(managed, id, state, reads))
  return Effect.andThen(to("rtr"), to("rts"))
}

const failureOf = (event: ManagerEvent, step: Unreachable["step"], peer: string) => {
  const { privateData, status, type } = event
  const unreachable = (detail: string) => new Unreachable({ peer, step, detail })
  switch (type) {
    case c.RDMA_CM_EVENT_REJECTED: {
      if (status === invalidServiceId || status === connectionRefused) {
        return new ConnectRejected({ peer, reason: "no-listener", privateData })
      }
      return status === rejectedByProgram
        ? new ConnectRejected({ peer, reason: "rejected", privateData })
        : unreachable(`rejected for the reason ${status}`)
    }
    case c.RDMA_CM_EVENT_ADDR_ERROR:
      return new Unreachable({ peer, step: "address", detail: `no way there (${status})` })
    case c.RDMA_CM_EVENT_ROUTE_ERROR:
      return new Unreachable({ peer, step: "route", detail: `no way there (${status})` })
    default:
      return unreachable(`no answer (event ${type}, ${status})`)
  }
}

/** Waits for an event of a type; any other one is a failure. */
const expect = Effect.fnUntraced(function* (
  id: ManagerId,
  type: number,
  step: Unreachable["step"],
  peer: string
): Effect.fn.Return<ManagerEvent, ConnectRejected | Unreachable> {
  const event = yield* id.next
  return event.type === type ? event : yield* failureOf(event, step, peer)
})

/** Failures of native calls on the way. */
const unreachable =
  (peer: string, step: Unreachable["step"]) =>
  (failure: NativeFailure): Unreachable =>
    new Unreachable({ peer, step, detail: describe(failure) })

/** The local address to connect from, and the interface that it belongs to. */
const sourceFor = ({ device }: Managed, host: string) => {
  const target = Gid.fromAddress(host)!
  return device.allGids.find(
    ({ gid, type }) =>
      type !== "infiniband" &&
      isIpv4(gid) === isIpv4(target) &&
      isLinkLocal(gid) === isLinkLocal(target)
  )
}

/** Finds the way to the peer from this device. */
const resolveWay = Effect.fnUntraced(function* (
  managed: Managed,
  connection: IbConnection,
  peer: string
) {
  const { device, manager } = managed
  const { control, libraries, settings } = device
  const { resolveWithinMs } = settings
  const { host } = connection.peer
  const id = yield* control
    .run(async () => {
      const from = sourceFor(managed, host)
      const index = from?.interfaceIndex ?? 0
      const source =
        from === undefined
          ? undefined
          : toNative(libraries, { host: Gid.toAddress(from.gid), port: 0 }, index)
      if (source !== undefined) await manager.bindAnchor(source)
      const id = await manager.create()
      connection.attach(id)
      const to = toNative(libraries, connection.peer, index)
      await id.call("rdma_resolve_addr", source ?? 0, to, resolveWithinMs)
      return id
    })
    .pipe(Effect.mapError(unreachable(peer, "address")))
  yield* expect(id, c.RDMA_CM_EVENT_ADDR_RESOLVED, "address", peer)
  yield* control
    .run(() => id.call("rdma_resolve_route", resolveWithinMs))
    .pipe(Effect.mapError(unreachable(peer, "route")))
  yield* expect(id, c.RDMA_CM_EVENT_ROUTE_RESOLVED, "route", peer)
  return id
})

/** Asks a listener for a connection. */
export const connect = Effect.fnUntraced(function* (
  managed: Managed,
  connection: IbConnection,
  params: ResolvedConnectParams
): Effect.fn.Return<void, ConnectError> {
  const { control } = managed.device
  const { queuePair } = connection
  const peer = addressText(connection.peer)
  const id = yield* resolveWay(managed, connection, peer)
  yield* control
    .run(() => id.call("rdma_connect", connParam(managed, queuePair, params, params)))
    .pipe(Effect.mapError(unreachable(peer, "connect")))
  const reply = yield* expect(id, c.RDMA_CM_EVENT_CONNECT_RESPONSE, "connect", peer)
  const reads = {
    inboundReads: Math.min(params.inboundReads, reply.responderResources),
    outboundReads: Math.min(params.outboundReads, reply.initiatorDepth)
  }
  connection.setNegotiated({ privateData: reply.privateData, ...reads })
  yield* moveToReady(managed, connection, id, reads)
  yield* control
    .run(() => id.call("rdma_establish"))
    .pipe(Effect.mapError(unreachable(peer, "connect")))
  connection.onEstablished()
})

/** Answers a request with yes. */
const accept = Effect.fnUntraced(function* (
  managed: Managed,
  asked: ManagerEvent,
  id: ManagerId,
  connection: IbConnection,
  params: ResolvedConnectParams
): Effect.fn.Return<void, AcceptError> {
  const { control } = managed.device
  const { queuePair } = connection
  const peer = addressText(connection.peer)
  connection.attach(id)
  const reads = {
    inboundReads: Math.min(params.inboundReads, asked.responderResources),
    outboundReads: Math.min(params.outboundReads, asked.initiatorDepth)
  }
  connection.setNegotiated({ privateData: asked.privateData, ...reads })
  yield* moveToReady(managed, connection, id, reads)
  queuePair.onFirstMessage = () => id.tell("rdma_notify", c.IBV_EVENT_COMM_EST)
  yield* control
    .run(() => id.call("rdma_accept", connParam(managed, queuePair, params, reads)))
    .pipe(Effect.mapError(unreachable(peer, "accept")))
  const event = yield* id.next
  if (event.type !== c.RDMA_CM_EVENT_ESTABLISHED) {
    const detail = `it gave up meanwhile (event ${event.type}, ${event.status})`
    return yield* new Unreachable({ peer, step: "accept", detail })
  }
  connection.onEstablished()
})

const reject = ({ device }: Managed, id: ManagerId, data: Uint8Array): void => {
  const block = new Block(device.libraries, Math.max(1, data.length))
  block.bytes.set(data)
  id.tell("rdma_reject", block, data.length)
  id.destroy()
}

/** A peer's request, by the event that reported it and the identifier that answers it. */
export const requestOf = (
  managed: Managed,
  asked: ManagerEvent,
  id: ManagerId
): IncomingRequest<IbConnection> => {
  const target = id.pointer + offsets.rdma_cm_id["route.addr.dst_addr"]
  return {
    peer: fromNative(managed.device.libraries, target),
    privateData: asked.privateData,
    inboundReads: asked.responderResources,
    outboundReads: asked.initiatorDepth,
    accept: (connection, params) => accept(managed, asked, id, connection, params),
    reject: (data) => reject(managed, id, data)
  }
}
