/**
 * The call that carries one message of a client, and its answer.
 *
 * Each request is such a call, so both are written by hand: going through their schemas would cost
 * more than all the rest of the call.
 */
import { copyOf } from "../../../../schema/copyBytes.ts"
import { XdrReader, XdrWriter } from "../../../../schema/rpc/Xdr.ts"
import type { CallRequest } from "../../RpcClient.ts"
import { maxExitBytes, maxTextBytes, sessionBytes } from "./messages.ts"

/** Its number in the program of the server. */
export const sendProcedure = 2

/** A message of a client, for a request of its session. */
export interface SendCall {
  readonly session: Uint8Array
  /** Names a request within its session; empty for what concerns all of them. */
  readonly request: string
  readonly message: Uint8Array
}

/** `Taken`: the message was handed in. The exit is that of its request, if it has ended by now. */
export type SendResult =
  | { readonly _tag: "Taken"; readonly exit: Uint8Array | undefined }
  /** The server does not know the session: it was replaced, or has waited for too long. */
  | { readonly _tag: "Forgotten" }
  /** A limit of the server is reached. The call has done nothing. */
  | { readonly _tag: "Refused"; readonly detail: string }

const Kind = { taken: 0, forgotten: 1, refused: 2 } as const

/** The longest answer. */
const maxResultBytes = maxExitBytes + 64
/** Lengths of texts and messages, and their padding. */
const itemBytes = 8

export const encodeSend = ({ message, request, session }: SendCall): CallRequest => {
  const room = sessionBytes + 3 * request.length + message.length + 2 * itemBytes
  const writer = new XdrWriter(Buffer.allocUnsafe(room))
  writer.fixed(session).string(request).opaque(message)
  const args = writer.bytes()
  const offset = args.length - ((message.length + 3) & ~3)
  return {
    procedure: sendProcedure,
    args,
    bulkArgs: message.length === 0 ? [] : [{ offset, length: message.length }],
    maxResultBytes
  }
}

/** Undefined if the arguments do not parse. The message is a view of them. */
export const decodeSend = (args: Uint8Array): SendCall | undefined => {
  const reader = new XdrReader(args)
  const session = reader.fixed(sessionBytes)
  const request = reader.string(maxTextBytes)
  const message = reader.opaque(args.length)
  return reader.failed || reader.remaining > 0 ? undefined : { session, request, message }
}

export const encodeSendResult = (result: SendResult): Uint8Array => {
  switch (result._tag) {
    case "Taken": {
      const { exit } = result
      const writer = new XdrWriter(new Uint8Array(2 * itemBytes + (exit?.length ?? 0)))
      writer.uint32(Kind.taken).boolean(exit !== undefined)
      return (exit === undefined ? writer : writer.opaque(exit)).bytes()
    }
    case "Forgotten":
      return new XdrWriter().uint32(Kind.forgotten).bytes()
    case "Refused":
      return new XdrWriter().uint32(Kind.refused).string(result.detail).bytes()
  }
}

/** Undefined if the results do not parse. */
export const decodeSendResult = (results: Uint8Array): SendResult | undefined => {
  const reader = new XdrReader(results)
  const kind = reader.uint32()
  let result: SendResult | undefined
  if (kind === Kind.taken) {
    const exit = reader.boolean() ? reader.opaque(maxExitBytes) : undefined
    result = { _tag: "Taken", exit: exit && copyOf(exit, 0, exit.length) }
  } else if (kind === Kind.forgotten) result = { _tag: "Forgotten" }
  else if (kind === Kind.refused) result = { _tag: "Refused", detail: reader.string(maxTextBytes) }
  return reader.failed || reader.remaining > 0 ? undefined : result
}
