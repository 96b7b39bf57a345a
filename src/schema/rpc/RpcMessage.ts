/**
 * Calls and replies of ONC RPC version 2 (RFC 5531), as every transport carries them. Arguments
 * and results are views of the bytes that were read; they belong to the program that is called.
 */

import * as Result from "effect/Result"
import { type RpcFault, RpcMalformed, UnknownRpcVersion } from "./RpcRdmaFault.ts"
import { XdrReader, XdrWriter } from "./Xdr.ts"

/** A credential or a verifier. */
export interface Auth {
  readonly flavor: number
  readonly body: Uint8Array
}

export const AuthFlavor = { none: 0, sys: 1 } as const

/** No credential and no verifier. */
export const authNone: Auth = { flavor: AuthFlavor.none, body: new Uint8Array(0) }

/** The longest body of a credential or verifier, in bytes (RFC 5531, 8.2). */
export const maxAuthBytes = 400

export interface Call {
  readonly _tag: "Call"
  readonly xid: number
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly credential: Auth
  readonly verifier: Auth
  readonly args: Uint8Array
}

/** Each status of an accepted call that says nothing more. */
const plainStatus = { ProcedureUnavailable: 3, GarbageArgs: 4, SystemError: 5 } as const

/** The outcome of an accepted call. */
export type Outcome =
  | { readonly _tag: "Success"; readonly results: Uint8Array }
  | { readonly _tag: "ProgramUnavailable" }
  /** The oldest and the newest version of the program that are served. */
  | { readonly _tag: "ProgramMismatch"; readonly low: number; readonly high: number }
  | { readonly _tag: keyof typeof plainStatus }

/** Why a call was denied: for its RPC version, or for its credential. */
export type Denial =
  | { readonly _tag: "RpcMismatch"; readonly low: number; readonly high: number }
  | { readonly _tag: "AuthError"; readonly status: number }

export interface Accepted {
  readonly _tag: "Accepted"
  readonly xid: number
  readonly verifier: Auth
  readonly outcome: Outcome
}

export interface Denied {
  readonly _tag: "Denied"
  readonly xid: number
  readonly denial: Denial
}

export type RpcMessage = Call | Accepted | Denied

const rpcVersion = 2
const MessageType = { call: 0, reply: 1 } as const
const ReplyStatus = { accepted: 0, denied: 1 } as const
const AcceptStatus = { success: 0, programUnavailable: 1, programMismatch: 2 } as const
const RejectStatus = { rpcMismatch: 0, authError: 1 } as const

const readAuth = (reader: XdrReader): Auth => {
  const flavor = reader.uint32()
  const body = reader.opaque(maxAuthBytes)
  return flavor === AuthFlavor.none && body.length === 0 ? authNone : { flavor, body }
}

const readRange = (reader: XdrReader) => ({ low: reader.uint32(), high: reader.uint32() })

const readOutcome = (reader: XdrReader): Outcome | undefined => {
  const status = reader.uint32()
  switch (status) {
    case AcceptStatus.success:
      return { _tag: "Success", results: reader.rest() }
    case AcceptStatus.programUnavailable:
      return { _tag: "ProgramUnavailable" }
    case AcceptStatus.programMismatch:
      return { _tag: "ProgramMismatch", ...readRange(reader) }
    case plainStatus.ProcedureUnavailable:
      return { _tag: "ProcedureUnavailable" }
    case plainStatus.GarbageArgs:
      return { _tag: "GarbageArgs" }
    case plainStatus.SystemError:
      return { _tag: "SystemError" }
    default:
      return undefined
  }
}

const readDenial = (reader: XdrReader): Denial | undefined => {
  const status = reader.uint32()
  if (status === RejectStatus.rpcMismatch) return { _tag: "RpcMismatch", ...readRange(reader) }
  if (status === RejectStatus.authError) return { _tag: "AuthError", status: reader.uint32() }
  return undefined
}

const readReply = (xid: number, reader: XdrReader): RpcMessage | undefined => {
  const status = reader.uint32()
  if (status === ReplyStatus.accepted) {
    const verifier = readAuth(reader)
    const outcome = readOutcome(reader)
    return outcome && { _tag: "Accepted", xid, verifier, outcome }
  }
  if (status !== ReplyStatus.denied) return undefined
  const denial = readDenial(reader)
  return denial && { _tag: "Denied", xid, denial }
}

const readCall = (xid: number, reader: XdrReader): Call => ({
  _tag: "Call",
  xid,
  program: reader.uint32(),
  version: reader.uint32(),
  procedure: reader.uint32(),
  credential: readAuth(reader),
  verifier: readAuth(reader),
  args: reader.rest()
})

/** Reads a call or a reply. */
export const decode = (bytes: Uint8Array): Result.Result<RpcMessage, RpcFault> => {
  const reader = new XdrReader(bytes)
  const xid = reader.uint32()
  const type = reader.uint32()
  let message: RpcMessage | undefined
  if (type === MessageType.reply) message = readReply(xid, reader)
  else if (type === MessageType.call) {
    const version = reader.uint32()
    if (!reader.failed && version !== rpcVersion) {
      return Result.fail(new UnknownRpcVersion({ xid, version }))
    }
    message = readCall(xid, reader)
  } else return Result.fail(new RpcMalformed({ detail: "neither a call nor a reply" }))
  if (reader.failed) return Result.fail(new RpcMalformed({ detail: "it ends too early" }))
  return message === undefined
    ? Result.fail(new RpcMalformed({ detail: "a status that RFC 5531 does not know" }))
    : Result.succeed(message)
}

const writeAuth = (writer: XdrWriter, { body, flavor }: Auth): XdrWriter => {
  if (body.length > maxAuthBytes) {
    throw new RangeError(`${body.length} bytes of credential; at most ${maxAuthBytes} are allowed`)
  }
  return writer.uint32(flavor).opaque(body)
}

const writeOutcome = (writer: XdrWriter, outcome: Outcome): XdrWriter => {
  switch (outcome._tag) {
    case "Success":
      return writer.uint32(AcceptStatus.success).raw(outcome.results)
    case "ProgramUnavailable":
      return writer.uint32(AcceptStatus.programUnavailable)
    case "ProgramMismatch":
      writer.uint32(AcceptStatus.programMismatch)
      return writer.uint32(outcome.low).uint32(outcome.high)
    default:
      return writer.uint32(plainStatus[outcome._tag])
  }
}

const writeDenial = (writer: XdrWriter, denial: Denial): XdrWriter =>
  denial._tag === "RpcMismatch"
    ? writer.uint32(RejectStatus.rpcMismatch).uint32(denial.low).uint32(denial.high)
    : writer.uint32(RejectStatus.authError).uint32(denial.status)

/** Writes a call or a reply. A credential beyond its limit is a mistake of the caller. */
export const write = (to: XdrWriter, message: RpcMessage): XdrWriter => {
  const writer = to.uint32(message.xid)
  switch (message._tag) {
    case "Call":
      writer.uint32(MessageType.call).uint32(rpcVersion).uint32(message.program)
      writer.uint32(message.version).uint32(message.procedure)
      writeAuth(writer, message.credential)
      return writeAuth(writer, message.verifier).raw(message.args)
    case "Accepted":
      writer.uint32(MessageType.reply).uint32(ReplyStatus.accepted)
      return writeOutcome(writeAuth(writer, message.verifier), message.outcome)
    case "Denied":
      writer.uint32(MessageType.reply).uint32(ReplyStatus.denied)
      return writeDenial(writer, message.denial)
  }
}

/** The bytes of a call or a reply. */
export const encode = (message: RpcMessage): Uint8Array<ArrayBuffer> =>
  write(new XdrWriter(), message).bytes()

/** The claimed identity of a caller of AUTH_SYS. Nothing proves it. */
export interface SystemClaim {
  readonly stamp: number
  /** At most 255 bytes. */
  readonly machine: string
  readonly uid: number
  readonly gid: number
  /** At most 16. */
  readonly gids: ReadonlyArray<number>
}

const maxMachineBytes = 255
const maxGids = 16

/** The credential of a claim. One beyond its limits is a mistake of the caller. */
export const authSys = ({ gid, gids, machine, stamp, uid }: SystemClaim): Auth => {
  const writer = new XdrWriter().uint32(stamp).string(machine).uint32(uid).uint32(gid)
  writer.uint32(gids.length)
  for (const id of gids) writer.uint32(id)
  const auth = { flavor: AuthFlavor.sys, body: writer.bytes() }
  if (readAuthSys(auth) === undefined) throw new RangeError("a claim beyond AUTH_SYS's limits")
  return auth
}

/** Reads the claim of a credential; undefined if it is of another flavor or does not parse. */
export const readAuthSys = ({ body, flavor }: Auth): SystemClaim | undefined => {
  if (flavor !== AuthFlavor.sys) return undefined
  const reader = new XdrReader(body)
  const stamp = reader.uint32()
  const machine = reader.string(maxMachineBytes)
  const uid = reader.uint32()
  const gid = reader.uint32()
  const count = reader.uint32()
  if (count > maxGids) return undefined
  const gids = Array.from({ length: count }, () => reader.uint32())
  return reader.failed || reader.remaining > 0 ? undefined : { stamp, machine, uid, gid, gids }
}
