/**
 * The program that carries the messages of `effect/rpc`.
 *
 * A call of ONC RPC has one reply, so a stream or a slow handler is none: each message of a client
 * is a call that is answered at once, and what a server has to say later is a call in the reverse
 * direction. Both are executed once over all connections, so a lost one loses and repeats nothing.
 */
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Xdr from "../../../../schema/rpc/XdrSchema.ts"
import * as RpcProgram from "../../RpcProgram.ts"

/** An exit that goes with the answer to its request: both fit into a reply of 4096 bytes. */
export const maxExitBytes = 3_000
/** Bytes of a call in the reverse direction beside its events, headers included. */
export const deliveryBytes = 160
export const maxEvents = 128
export const maxTextBytes = 512
export const sessionBytes = 16
/** No message is longer than what the pool of either end could lend. */
const anyLength = 0x7fff_ffff

const Session = Xdr.FixedOpaque(sessionBytes)
/** Names a request within its session; empty for what concerns all of them. */
const RequestKey = Xdr.Text(maxTextBytes)

const Body = Xdr.Switch({
  0: Schema.TaggedStruct("Whole", { message: Xdr.Opaque(anyLength) }),
  1: Schema.TaggedStruct("Announced", { bytes: Xdr.Uint32 })
})

/** A message of the server, in its order. */
const Event = Schema.Struct({ number: Xdr.Uint64, request: RequestKey, body: Body })
export type Event = typeof Event.Type

/** The server does not know the session: it was replaced, or has waited for too long. */
const Forgotten = Schema.TaggedStruct("Forgotten", {})
/** A limit of the server is reached. The call has done nothing. */
const Refused = Schema.TaggedStruct("Refused", { detail: Xdr.Text(maxTextBytes) })

const Opened = Schema.TaggedStruct("Opened", {})
/** The server knows the session. */
const Known = Schema.TaggedStruct("Known", {})
const Fetched = Schema.TaggedStruct("Fetched", { message: Xdr.Bulk(anyLength) })

const Open = Rpc.make("Open", {
  payload: {
    session: Session,
    /** The longest message that the client takes inline. */
    inlineBytes: Xdr.Uint32
  },
  success: Xdr.Switch({ 0: Opened, 2: Refused })
})

/** Asks whether the server still knows the session, and says that the client lives. */
const Renew = Rpc.make("Renew", {
  payload: { session: Session },
  success: Xdr.Switch({ 0: Known, 1: Forgotten })
})

const Fetch = Rpc.make("Fetch", {
  payload: {
    session: Session,
    number: Xdr.Uint64,
    bytes: Xdr.Uint32,
    /** Announced events that are not needed any more. */
    done: Xdr.Counted(Xdr.Uint64, maxEvents)
  },
  success: Xdr.Switch({ 0: Fetched, 1: Forgotten })
})

const Leave = Rpc.make("Leave", { payload: { session: Session } })

const Deliver = Rpc.make("Deliver", {
  payload: { session: Session, events: Xdr.Counted(Event, maxEvents) },
  success: Xdr.Switch({ 0: Known, 1: Forgotten })
})

export type DeliverResult = typeof Deliver.successSchema.Type

const small = { isIdempotent: true, longest: () => ({ bytes: maxTextBytes + 64 }) }

/** The program of the server, under a number that both ends agree upon; 2 is `sendMessages`. */
export const makeProgram = (program: number) =>
  RpcProgram.make({
    program,
    version: 1,
    encoding: "xdr",
    procedures: {
      1: RpcProgram.procedure(Open, small),
      3: RpcProgram.procedure(Renew, small),
      4: RpcProgram.procedure(Fetch, {
        isIdempotent: true,
        longest: ({ bytes }) => ({ bytes: 64, bulk: [bytes] })
      }),
      5: RpcProgram.procedure(Leave, small)
    }
  })

/** The program of the client, under the same number in the reverse direction. */
export const makeReverse = (program: number) =>
  RpcProgram.make({ program, version: 1, encoding: "xdr", procedures: { 1: Deliver } })

type Rpcs = typeof makeProgram extends (program: number) => RpcProgram.RpcProgram<infer R>
  ? R
  : never
export type { Rpcs as ProtocolRpcs }

/** In the range that RFC 5531 leaves to users. */
export const defaultProgram = 0x2000_0065

/** Tells the number 1 from the text "1". */
export const keyOf = (id: string | number): string => (typeof id === "number" ? `#${id}` : `"${id}`)
