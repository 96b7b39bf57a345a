/**
 * Messages as bytes, one FPDU each.
 *
 * For tools and tests. The data path of a connection reads `Segment` in place instead; a property
 * test compares both with the Schema.
 */
import type { Crc32c } from "./Crc32c.ts"
import type { CompareSwap, FetchAdd, Message, Send } from "./Message.ts"
import * as RdmapHeader from "./RdmapHeader.ts"
import { Opcode, Queue, Segment, tagged, untagged, write } from "./Segment.ts"
import * as Terminate from "./Terminate.ts"

/** The bytes of a message as one FPDU. */
export const encode = (message: Message, crc: Crc32c | undefined): Uint8Array<ArrayBuffer> => {
  const payload = payloadOf(message)
  const segment = segmentOf(message, payload.length)
  const unpadded = segment.ulpduLength + 2
  const out = new Uint8Array(unpadded + (-unpadded & 3) + 4)
  const view = new DataView(out.buffer)
  out.set(payload, write(view, 0, segment))
  const end = out.length - 4
  view.setUint32(end, crc === undefined ? 0 : crc.update(0, out, 0, end), true)
  return out
}

const sendOpcodes = [
  [Opcode.send, Opcode.sendSolicited],
  [Opcode.sendInvalidate, Opcode.sendSolicitedInvalidate]
] as const

const segmentOf = (message: Message, length: number): Segment => {
  const plain = (opcode: number, queue: number, msn: number): Segment =>
    untagged(new Segment(), opcode, true, 0, queue, msn, 0, length)
  switch (message._tag) {
    case "Write":
    case "ReadResponse": {
      const opcode = message._tag === "Write" ? Opcode.write : Opcode.readResponse
      const high = Number(message.to >> 32n)
      const low = Number(message.to & 0xffff_ffffn)
      return tagged(new Segment(), opcode, message.last === 1, message.stag, high, low, length)
    }
    case "Send": {
      const { invalidateStag: stag, last, mo, msn, solicited } = message
      const opcode = sendOpcodes[stag === undefined ? 0 : 1][solicited]
      return untagged(new Segment(), opcode, last === 1, stag ?? 0, Queue.send, msn, mo, length)
    }
    case "ReadRequest":
      return plain(Opcode.readRequest, Queue.request, message.msn)
    case "Immediate":
      return plain(
        message.solicited === 1 ? Opcode.immediateSolicited : Opcode.immediate,
        Queue.send,
        message.msn
      )
    case "FetchAdd":
    case "CompareSwap":
      return plain(Opcode.atomicRequest, Queue.request, message.msn)
    case "AtomicResponse":
      return plain(Opcode.atomicResponse, Queue.atomicResponse, message.msn)
    case "Terminate":
      return plain(Opcode.terminate, Queue.terminate, message.msn)
  }
}

const build = (bytes: number, fill: (view: DataView) => void): Uint8Array => {
  const out = new Uint8Array(bytes)
  fill(new DataView(out.buffer))
  return out
}

const payloadOf = (message: Message): Uint8Array => {
  switch (message._tag) {
    case "Write":
    case "ReadResponse":
    case "Send":
      return message.payload
    case "ReadRequest": {
      const { readSize: length, sinkStag, sinkTo: sinkOffset, srcStag, srcTo } = message
      const source = { sourceStag: srcStag, sourceOffset: srcTo }
      return build(RdmapHeader.readRequestBytes, (view) =>
        RdmapHeader.writeReadRequest(view, 0, { sinkStag, sinkOffset, length, ...source })
      )
    }
    case "Immediate":
      return build(RdmapHeader.immediateBytes, (view) => view.setBigUint64(0, message.payload))
    case "FetchAdd":
    case "CompareSwap":
      return build(RdmapHeader.atomicRequestBytes, (view) =>
        RdmapHeader.writeAtomicRequest(view, 0, atomicOf(message))
      )
    case "AtomicResponse": {
      const { originalRequestId: request, originalValue: original } = message
      return build(RdmapHeader.atomicResponseBytes, (view) =>
        RdmapHeader.writeAtomicResponse(view, 0, { request, original })
      )
    }
    case "Terminate":
      return Terminate.write(message.layer, message.etype, message.code, {
        segmentLength: message.ddpSegLen,
        ddpHeader: message.terminatedDdpHeader,
        rdmapHeader: message.terminatedRdmaHeader
      })
  }
}

const atomicOf = (
  message: typeof FetchAdd.Type | typeof CompareSwap.Type
): RdmapHeader.AtomicRequest => {
  const { remoteStag: stag, remoteTo: offset, requestId: request } = message
  const target = { request, stag, offset }
  if (message._tag === "FetchAdd") {
    const { addData: data, addMask: mask } = message
    return { operation: "fetchAdd", ...target, data, mask, compare: 0n, compareMask: 0n }
  }
  const { compareData: compare, compareMask, swapData: data, swapMask: mask } = message
  return { operation: "compareSwap", ...target, data, mask, compare, compareMask }
}

/**
 * The message in a segment and its payload; undefined if RDMAP has no such message on this queue
 * and of this length.
 */
export const decode = (segment: Segment, payload: Uint8Array): Message | undefined => {
  const { ddpVersion, opcode, queue, rdmapVersion, stag } = segment
  const last = segment.last ? 1 : 0
  if (ddpVersion !== 1 || rdmapVersion !== 1) return undefined
  if (segment.tagged) {
    const to = (BigInt(segment.offsetHigh) << 32n) | BigInt(segment.offsetLow)
    if (opcode === Opcode.write) return { _tag: "Write", last, stag, to, payload }
    if (opcode === Opcode.readResponse) return { _tag: "ReadResponse", last, stag, to, payload }
    return undefined
  }
  if (queue === Queue.send) return decodeSend(segment, payload)
  return segment.last && segment.messageOffset === 0 ? decodeHeader(segment, payload) : undefined
}

const decodeSend = (segment: Segment, payload: Uint8Array): Message | undefined => {
  const { messageOffset: mo, opcode, sequence: msn, stag } = segment
  const last = segment.last ? 1 : 0
  const send = (solicited: 0 | 1): typeof Send.Type => ({
    _tag: "Send",
    last,
    solicited,
    msn,
    mo,
    payload
  })
  switch (opcode) {
    case Opcode.send:
    case Opcode.sendSolicited:
      return send(opcode === Opcode.send ? 0 : 1)
    case Opcode.sendInvalidate:
    case Opcode.sendSolicitedInvalidate:
      return { ...send(opcode === Opcode.sendInvalidate ? 0 : 1), invalidateStag: stag }
    case Opcode.immediate:
    case Opcode.immediateSolicited: {
      const whole = payload.length === RdmapHeader.immediateBytes && last === 1 && mo === 0
      const solicited = opcode === Opcode.immediate ? 0 : 1
      if (!whole) return undefined
      return { _tag: "Immediate", solicited, msn, payload: viewOf(payload).getBigUint64(0) }
    }
    default:
      return undefined
  }
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const decodeHeader = (segment: Segment, payload: Uint8Array): Message | undefined => {
  const { opcode, queue, sequence: msn } = segment
  const view = viewOf(payload)
  const is = (code: number, on: number, bytes: number): boolean =>
    opcode === code && queue === on && payload.length === bytes
  if (is(Opcode.readRequest, Queue.request, RdmapHeader.readRequestBytes)) {
    const { length, sinkOffset, sinkStag, sourceOffset, sourceStag } = RdmapHeader.readReadRequest(
      view,
      0
    )
    const source = { srcStag: sourceStag, srcTo: sourceOffset }
    return { _tag: "ReadRequest", msn, sinkStag, sinkTo: sinkOffset, readSize: length, ...source }
  }
  if (is(Opcode.atomicRequest, Queue.request, RdmapHeader.atomicRequestBytes)) {
    const request = RdmapHeader.readAtomicRequest(view, 0)
    return request && decodeAtomic(request, msn)
  }
  if (is(Opcode.atomicResponse, Queue.atomicResponse, RdmapHeader.atomicResponseBytes)) {
    const { original, request } = RdmapHeader.readAtomicResponse(view, 0)
    return { _tag: "AtomicResponse", msn, originalRequestId: request, originalValue: original }
  }
  return opcode === Opcode.terminate && queue === Queue.terminate
    ? decodeTerminate(payload, msn)
    : undefined
}

const decodeAtomic = (request: RdmapHeader.AtomicRequest, msn: number): Message => {
  const { compare, compareMask, data, mask, offset, operation, request: requestId, stag } = request
  const target = { msn, requestId, remoteStag: stag, remoteTo: offset }
  if (operation === "fetchAdd") return { _tag: "FetchAdd", ...target, addData: data, addMask: mask }
  const swap = { swapData: data, swapMask: mask, compareData: compare, compareMask }
  return { _tag: "CompareSwap", ...target, ...swap }
}

const decodeTerminate = (payload: Uint8Array, msn: number): Message | undefined => {
  const read = Terminate.decode(payload)
  if (read === undefined) return undefined
  const { code, ddpHeader, layer, order, rdmapHeader, segmentLength, type: etype } = read
  return {
    _tag: "Terminate",
    msn,
    layer,
    etype,
    code,
    ...(segmentLength !== undefined && { ddpSegLen: segmentLength }),
    ...(ddpHeader !== undefined && { terminatedDdpHeader: ddpHeader }),
    ...(rdmapHeader !== undefined && { terminatedRdmaHeader: rdmapHeader }),
    ...(order !== "rfc" && { order })
  }
}
