/** The shape of each message, as RDMAP defines it. */
import {
  atomicRequestBytes,
  atomicResponseBytes,
  immediateBytes,
  readRequestBytes
} from "../RdmapHeader.ts"
import { Opcode, Queue } from "../Segment.ts"

/** The queue of an untagged opcode. */
export const queueOf = (opcode: number): number => {
  if (opcode === Opcode.terminate) return Queue.terminate
  if (opcode === Opcode.atomicResponse) return Queue.atomicResponse
  return opcode === Opcode.readRequest || opcode === Opcode.atomicRequest
    ? Queue.request
    : Queue.send
}

/** The exact length of a message that is all header; -1 if it has none. */
export const exactBytes = (opcode: number): number => {
  switch (opcode) {
    case Opcode.readRequest:
      return readRequestBytes
    case Opcode.atomicRequest:
      return atomicRequestBytes
    case Opcode.atomicResponse:
      return atomicResponseBytes
    case Opcode.immediate:
    case Opcode.immediateSolicited:
      return immediateBytes
    default:
      return -1
  }
}

export const isTagged = (opcode: number): boolean =>
  opcode === Opcode.write || opcode === Opcode.readResponse

export const invalidates = (opcode: number): boolean =>
  opcode === Opcode.sendInvalidate || opcode === Opcode.sendSolicitedInvalidate
