/**
 * Work requests in native memory: one struct with its scatter list for each place of a queue.
 *
 * A post fills the struct and hands its address to the driver, which copies it before it returns.
 * So the memory may be filled again at once, and is never touched by the device.
 */
import { isUsable } from "../verbs/software/memory.ts"
import {
  isFetch,
  type Places,
  type ReceivePlace,
  type SendPlace
} from "../verbs/software/workQueues.ts"
import type { Opcode, ReceiveRequest, ScatterList, SendRequest } from "../verbs/WorkRequest.ts"
import { Block, setAddress } from "./block.ts"
import { constants, offsets, sizes } from "./layout.ts"
import type { Libraries, Pointer } from "./library.ts"

const send = offsets.ibv_send_wr
const receive = offsets.ibv_recv_wr
const entry = offsets.ibv_sge

const opcodes: Readonly<Record<Opcode, number>> = {
  send: constants.IBV_WR_SEND,
  "send-invalidate": constants.IBV_WR_SEND_WITH_INV,
  write: constants.IBV_WR_RDMA_WRITE,
  "write-immediate": constants.IBV_WR_RDMA_WRITE_WITH_IMM,
  read: constants.IBV_WR_RDMA_READ,
  "fetch-add": constants.IBV_WR_ATOMIC_FETCH_AND_ADD,
  "compare-swap": constants.IBV_WR_ATOMIC_CMP_AND_SWP
}

/** Where the struct of a request has its name and the address of its scatter list. */
interface WorkFields {
  readonly wr_id: number
  readonly sg_list: number
}

/** Names no memory, so that the device ends the work with a protection error, in its turn. */
const noKey = 0

/** Fills a scatter list. Whether all of its entries may be used. */
const fillList = (
  view: DataView,
  at: number,
  list: ScatterList,
  domain: number,
  areSinks: boolean
): boolean => {
  let areUsable = true
  for (let index = 0; index < list.count; index++) {
    const part = list.at(index)
    const place = at + index * sizes.ibv_sge
    const isFit = isUsable(part, domain, areSinks)
    const region = part.region!
    setAddress(view, place + entry.addr, isFit ? region.address + part.offset : 0)
    view.setUint32(place + entry.length, part.length, true)
    view.setUint32(place + entry.lkey, isFit ? region.localKey : noKey, true)
    areUsable &&= isFit
  }
  return areUsable
}

/** The struct of posted work, and the scatter list behind it. */
abstract class NativePlace {
  id = 0
  /** Whether it names only memory that it may use. */
  isUsable = true
  readonly address: Pointer
  protected readonly view: DataView
  protected readonly at: number
  protected readonly domain: number
  readonly #nameAt: number

  constructor(block: Block, at: number, domain: number, bytes: number, fields: WorkFields) {
    this.address = block.address + at
    this.view = block.view
    this.at = at
    this.domain = domain
    this.#nameAt = at + fields.wr_id
    setAddress(block.view, at + fields.sg_list, this.address + bytes)
  }

  /** Its name to the completion queue: the queue's serial number, and the number of the post. */
  setName(serial: number, index: number): void {
    this.view.setUint32(this.#nameAt, index, true)
    this.view.setUint32(this.#nameAt + 4, serial, true)
  }
}

/** The struct of a posted send. */
export class IbSendPlace extends NativePlace implements SendPlace {
  opcode: Opcode = "send"
  signalled = true
  /** Bytes that it brings back. */
  fetched = 0

  constructor(block: Block, at: number, domain: number) {
    super(block, at, domain, sizes.ibv_send_wr, send)
  }

  take(request: SendRequest, bytes: number): void {
    const { opcode, scatterList, signalled } = request
    const at = this.at
    const view = this.view
    this.id = request.id
    this.opcode = opcode
    this.signalled = signalled
    const fetches = isFetch(opcode)
    this.fetched = fetches ? bytes : 0
    this.isUsable = fillList(view, at + sizes.ibv_send_wr, scatterList, this.domain, fetches)
    view.setInt32(at + send.num_sge, scatterList.count, true)
    view.setInt32(at + send.opcode, opcodes[opcode], true)
    // The driver copies inline bytes by itself, from addresses that nothing else would check.
    const isInline = request.inline && this.isUsable
    const flags =
      (signalled ? constants.IBV_SEND_SIGNALED : 0) | (isInline ? constants.IBV_SEND_INLINE : 0)
    view.setUint32(at + send.send_flags, flags, true)
    if (opcode === "send") return
    this.#takeTarget(request)
  }

  #takeTarget(request: SendRequest): void {
    const at = this.at
    const view = this.view
    view.setUint32(at + send["wr.rdma.remote_addr"], request.remoteLow, true)
    view.setUint32(at + send["wr.rdma.remote_addr"] + 4, request.remoteHigh, true)
    switch (request.opcode) {
      case "fetch-add":
      case "compare-swap": {
        const isSwap = request.opcode === "compare-swap"
        const first = isSwap ? request.compare : request.value
        view.setBigUint64(at + send["wr.atomic.compare_add"], BigInt.asUintN(64, first), true)
        view.setBigUint64(at + send["wr.atomic.swap"], BigInt.asUintN(64, request.value), true)
        view.setUint32(at + send["wr.atomic.rkey"], request.remoteKey, true)
        return
      }
      case "send-invalidate":
        view.setUint32(at + send.invalidate_rkey, request.invalidate, true)
        return
      default:
        view.setUint32(at + send["wr.rdma.rkey"], request.remoteKey, true)
        view.setUint32(at + send.imm_data, request.immediate)
    }
  }
}

/** The struct of a posted receive. */
export class IbReceivePlace extends NativePlace implements ReceivePlace {
  constructor(block: Block, at: number, domain: number) {
    super(block, at, domain, sizes.ibv_recv_wr, receive)
  }

  take({ id, scatterList }: ReceiveRequest): void {
    this.id = id
    const list = this.at + sizes.ibv_recv_wr
    this.isUsable = fillList(this.view, list, scatterList, this.domain, true)
    this.view.setInt32(this.at + receive.num_sge, scatterList.count, true)
  }
}

/** Depths and scatter entries of a queue pair. */
export interface WorkSizes {
  readonly sendDepth: number
  readonly receiveDepth: number
  readonly scatterEntries: number
  readonly domain: number
}

/** The memory of both work queues of a queue pair. */
export class WorkMemory implements Places<IbSendPlace, IbReceivePlace> {
  readonly send: (place: number) => IbSendPlace
  readonly receive: (place: number) => IbReceivePlace
  /** One send more than the queue takes, see `IbQueuePair`. */
  readonly marker: IbSendPlace
  /** Where the driver says which request of a post it refused. */
  readonly refused: Pointer
  readonly #block: Block

  constructor(libraries: Libraries, wanted: WorkSizes) {
    const { domain, receiveDepth, scatterEntries, sendDepth } = wanted
    const list = scatterEntries * sizes.ibv_sge
    const sendBytes = sizes.ibv_send_wr + list
    const receiveBytes = sizes.ibv_recv_wr + list
    const receivesAt = (sendDepth + 1) * sendBytes
    const refusedAt = receivesAt + receiveDepth * receiveBytes
    const block = new Block(libraries, refusedAt + 8)
    this.#block = block
    this.send = (place) => new IbSendPlace(block, place * sendBytes, domain)
    this.receive = (place) => new IbReceivePlace(block, receivesAt + place * receiveBytes, domain)
    this.marker = this.send(sendDepth)
    this.refused = this.#block.address + refusedAt
  }
}
