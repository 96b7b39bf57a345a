/** Packs a step of a queue pair into `ibv_qp_attr`. */
import * as Gid from "../../schema/Gid.ts"
import { mtus } from "../../schema/Mtu.ts"
import {
  defaults,
  type State,
  type ToInit,
  type ToReadyToReceive,
  type ToReadyToSend
} from "../verbs/QueuePairState.ts"
import type { Access } from "../verbs/Region.ts"
import { Block } from "./block.ts"
import { constants, offsets, sizes } from "./layout.ts"
import type { Libraries } from "./library.ts"

const at = offsets.ibv_qp_attr
const c = constants

/** Attributes, and the mask that says which of them count. */
export interface Attributes {
  readonly block: Block
  readonly mask: number
}

const nativeStates: Readonly<Record<State, number>> = {
  reset: c.IBV_QPS_RESET,
  init: c.IBV_QPS_INIT,
  rtr: c.IBV_QPS_RTR,
  rts: c.IBV_QPS_RTS,
  err: c.IBV_QPS_ERR
}

const accessFlags: Readonly<Record<Access, number>> = {
  "local-write": c.IBV_ACCESS_LOCAL_WRITE,
  "remote-write": c.IBV_ACCESS_REMOTE_WRITE,
  "remote-read": c.IBV_ACCESS_REMOTE_READ,
  "remote-atomic": c.IBV_ACCESS_REMOTE_ATOMIC
}

/** Rights as flags. */
export const flagsOf = (access: ReadonlyArray<Access>): number =>
  access.reduce((flags, right) => flags | accessFlags[right], 0)

/** Attributes of a step that has none beside the state. */
export const stateOnly = (libraries: Libraries, state: State): Attributes => {
  const block = new Block(libraries, sizes.ibv_qp_attr)
  block.view.setInt32(at.qp_state, nativeStates[state], true)
  return { block, mask: c.IBV_QP_STATE }
}

const toInit = ({ view }: Block, step: ToInit): number => {
  view.setUint32(at.qp_access_flags, flagsOf(step.access ?? []), true)
  view.setUint16(at.pkey_index, step.pkeyIndex ?? defaults.pkeyIndex, true)
  view.setUint8(at.port_num, step.port ?? defaults.port)
  return c.IBV_QP_ACCESS_FLAGS | c.IBV_QP_PKEY_INDEX | c.IBV_QP_PORT
}

const toReadyToReceive = ({ bytes, view }: Block, step: ToReadyToReceive, port: number): number => {
  const { path } = step
  view.setInt32(at.path_mtu, mtus.indexOf(step.mtu) + 1, true)
  view.setUint32(at.rq_psn, step.peerSequence ?? defaults.peerSequence, true)
  view.setUint32(at.dest_qp_num, step.peer, true)
  bytes.set(Gid.toBytes(path.gid), at["ah_attr.grh.dgid"])
  view.setUint8(at["ah_attr.grh.sgid_index"], path.gidIndex ?? defaults.gidIndex)
  view.setUint8(at["ah_attr.grh.hop_limit"], path.hopLimit ?? defaults.hopLimit)
  view.setUint8(at["ah_attr.grh.traffic_class"], path.trafficClass ?? defaults.trafficClass)
  view.setUint16(at["ah_attr.dlid"], path.lid ?? defaults.lid, true)
  view.setUint8(at["ah_attr.sl"], path.serviceLevel ?? defaults.serviceLevel)
  view.setUint8(at["ah_attr.is_global"], 1)
  view.setUint8(at["ah_attr.port_num"], port)
  view.setUint8(at.max_dest_rd_atomic, step.inboundReads ?? defaults.inboundReads)
  view.setUint8(at.min_rnr_timer, step.minRnrTimer ?? defaults.minRnrTimer)
  return (
    c.IBV_QP_AV |
    c.IBV_QP_PATH_MTU |
    c.IBV_QP_DEST_QPN |
    c.IBV_QP_RQ_PSN |
    c.IBV_QP_MAX_DEST_RD_ATOMIC |
    c.IBV_QP_MIN_RNR_TIMER
  )
}

const toReadyToSend = ({ view }: Block, step: ToReadyToSend): number => {
  view.setUint32(at.sq_psn, step.firstSequence ?? defaults.firstSequence, true)
  view.setUint8(at.timeout, step.timeout ?? defaults.timeout)
  view.setUint8(at.retry_cnt, step.retries ?? defaults.retries)
  view.setUint8(at.rnr_retry, step.rnrRetries ?? defaults.rnrRetries)
  view.setUint8(at.max_rd_atomic, step.outboundReads ?? defaults.outboundReads)
  return (
    c.IBV_QP_SQ_PSN |
    c.IBV_QP_TIMEOUT |
    c.IBV_QP_RETRY_CNT |
    c.IBV_QP_RNR_RETRY |
    c.IBV_QP_MAX_QP_RD_ATOMIC
  )
}

/** Attributes of a step of a queue pair on a port. */
export const attributesOf = (
  libraries: Libraries,
  step: ToInit | ToReadyToReceive | ToReadyToSend,
  port: number
): Attributes => {
  const { block, mask } = stateOnly(libraries, step.to)
  switch (step.to) {
    case "init":
      return { block, mask: mask | toInit(block, step) }
    case "rtr":
      return { block, mask: mask | toReadyToReceive(block, step, port) }
    case "rts":
      return { block, mask: mask | toReadyToSend(block, step) }
  }
}
