/**
 * Programs: as a server offers them, procedures by number with arguments and results in XDR, and
 * declared by schemas, from which a typed client and server follow.
 */

import type * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Auth } from "../../schema/rpc/RpcMessage.ts"
import type { CallRefused, OutcomeUnknown } from "./RpcError.ts"
import { isCallable, largestNumber } from "./internal/callable.ts"
import type { Range } from "./internal/planning.ts"
import { type Methods, methodsOf } from "./internal/typedCalls.ts"
import { type Encoding, type ProcedureOptions, TypedProcedure } from "./internal/typedProcedure.ts"

export type { Encoding, Longest, ProcedureOptions } from "./internal/typedProcedure.ts"

/** A call of a server to one of its clients. */
export interface ReverseCallRequest {
  readonly program: number
  readonly version: number
  readonly procedure: number
  /** The arguments in XDR. */
  readonly args: Uint8Array
}

/** Calls a client in the reverse direction, on credits of its own, over all its connections. */
export interface ReverseCaller {
  /** Calls that the client takes at once; 0 if it takes none. */
  readonly limit: number
  /** Returns the results in XDR. The call is executed once if the client lives on. */
  call(request: ReverseCallRequest): Effect.Effect<Uint8Array, CallRefused | OutcomeUnknown>
}

/** A call as a handler sees it. */
export interface ProcedureCall {
  /** The arguments in XDR. They do not change. */
  readonly args: Uint8Array
  /** The caller, as `admit` named the peer of the connection. */
  readonly principal: string
  /** The caller's claim. Nothing proves that of AUTH_SYS. */
  readonly credential: Auth
  /** Calls the caller back. Undefined if it is a server that calls its client. */
  readonly caller: ReverseCaller | undefined
}

/** The results of a handler. */
export interface ProcedureReply {
  /** The results in XDR. They must not change any more. */
  readonly results: Uint8Array
  /** Opaque data in the results that may be written into the caller's memory. */
  readonly bulk?: ReadonlyArray<Range> | undefined
}

/** The arguments do not parse. */
export class GarbageArgs extends Data.TaggedError("GarbageArgs") {}

export interface Procedure {
  /** A defect of it is answered as SYSTEM_ERR. */
  readonly handler: (call: ProcedureCall) => Effect.Effect<ProcedureReply, GarbageArgs>
  /**
   * It may be executed twice without harm, so its replies are not kept. Default: false, and a call
   * is executed at most once.
   */
  readonly isIdempotent?: boolean | undefined
}

export interface Program {
  readonly program: number
  readonly version: number
  /** Procedure 0 is NULL, which every program has. */
  readonly procedures: Readonly<Record<number, Procedure>>
}

/** A procedure with what is said of it beside its schemas. */
export interface TypedEntry<R extends Rpc.Any> {
  readonly rpc: R
  readonly options: ProcedureOptions<never>
}

/** Says more of a procedure than its schemas do. */
export const procedure = <R extends Rpc.Any>(
  rpc: R,
  options: ProcedureOptions<Rpc.Payload<R>>
): TypedEntry<R> => ({ rpc, options })

/** A program whose procedures are declared with schemas, for a typed client and server. */
export interface RpcProgram<out Rpcs extends Rpc.Any> {
  readonly program: number
  readonly version: number
  readonly procedures: ReadonlyArray<TypedProcedure>
  readonly "~rpcs": (_: never) => Rpcs
}

const encodings: ReadonlyArray<Encoding> = ["xdr", "binary"]

/** Throws for a number that no call can carry. */
const assertCallable = (what: string, given: unknown, number: number, least: number): void => {
  if (isCallable(number, least)) return
  throw new RangeError(`${what} ${given} is no whole number from ${least} to ${largestNumber}`)
}

type RpcOf<Entry> = Entry extends TypedEntry<infer R> ? R : Entry extends Rpc.Any ? Entry : never

/**
 * Declares a program once, for clients and servers: its procedures by number, each an `Rpc` of
 * `effect/rpc`. Throws, naming the place, if a schema cannot travel or a number is none.
 */
export const make = <
  const Entries extends Readonly<Record<number, Rpc.Any | TypedEntry<Rpc.Any>>>
>(options: {
  readonly program: number
  readonly version: number
  /** Numbers from 1: 0 is NULL, which every program has. */
  readonly procedures: Entries
  /** Default `binary`, for programs that are new. */
  readonly encoding?: Encoding | undefined
}): RpcProgram<RpcOf<Entries[keyof Entries & number]>> => {
  const { encoding = "binary", program, version } = options
  assertCallable("program", program, program, 0)
  assertCallable("version", version, version, 0)
  if (!encodings.includes(encoding)) {
    throw new RangeError(`${encoding} is no encoding: ${encodings.join(", ")}`)
  }
  const entries: ReadonlyArray<[string, Rpc.Any | TypedEntry<Rpc.Any>]> = Object.entries(
    options.procedures
  )
  const procedures = entries.map(([number, entry]) => {
    if (Number(number) === 0) throw new RangeError("procedure 0 is NULL, which every program has")
    assertCallable("procedure", number, Number(number), 1)
    const { options, rpc } = "rpc" in entry ? entry : { rpc: entry, options: {} }
    return new TypedProcedure(rpc as Rpc.AnyWithProps, Number(number), encoding, options)
  })
  const names = new Set(procedures.map(({ rpc }) => rpc._tag))
  if (names.size < procedures.length) throw new RangeError("two procedures of one name")
  return { program, version, procedures, "~rpcs": (never) => never }
}

/** The caller of a procedure. */
export type Caller = Omit<ProcedureCall, "args">

/** One handler for each procedure of a typed program. */
export type Handlers<Rpcs extends Rpc.Any, R> = {
  readonly [Current in Rpcs as Current["_tag"]]: (
    payload: Rpc.Payload<Current>,
    caller: Caller
  ) => Effect.Effect<Rpc.Success<Current>, Rpc.Error<Current>, R>
}

type ServicesOf<Given> = Given[keyof Given] extends (
  ...args: never
) => Effect.Effect<infer _A, infer _E, infer R>
  ? R
  : never

/**
 * Implements a typed program, for a server to offer. Arguments that do not fit their schema are
 * answered as GARBAGE_ARGS, results that do not as SYSTEM_ERR.
 */
export const implement = <Rpcs extends Rpc.Any, const Given extends Handlers<Rpcs, unknown>>(
  { procedures, program, version }: RpcProgram<Rpcs>,
  handlers: Given
): Effect.Effect<Program, never, ServicesOf<Given> | Rpc.ServicesServer<Rpcs>> =>
  Effect.contextWith((context: Context.Context<ServicesOf<Given>>) => {
    const byName: Readonly<Record<string, unknown>> = handlers
    const served = procedures.map((procedure): [number, Procedure] => {
      const handle = byName[procedure.rpc._tag] as (
        payload: unknown,
        caller: Caller
      ) => Effect.Effect<unknown, unknown, ServicesOf<Given>>
      const handler: Procedure["handler"] = ({ args, ...caller }) =>
        procedure.decodePayload(args).pipe(
          Effect.mapError(() => new GarbageArgs()),
          Effect.flatMap((payload) =>
            Effect.matchEffect(handle(payload, caller), {
              onSuccess: (value) => procedure.encodeOutcome({ _tag: "Success", value }),
              onFailure: (error) => procedure.encodeOutcome({ _tag: "Failure", error })
            })
          ),
          Effect.map(({ bulk, bytes }) => ({ results: bytes, bulk })),
          Effect.provideContext(context)
        )
      return [procedure.number, { handler, isIdempotent: procedure.isIdempotent }]
    })
    return Effect.succeed({ program, version, procedures: Object.fromEntries(served) })
  })

/** The calls of a typed program that a client serves in the reverse direction. */
export const callBack = <Rpcs extends Rpc.Any>(
  { procedures, program, version }: RpcProgram<Rpcs>,
  caller: ReverseCaller
): Methods<Rpcs, CallRefused | OutcomeUnknown> =>
  methodsOf(
    {
      call: ({ args, procedure }) =>
        Effect.map(caller.call({ program, version, procedure, args }), (results) => ({
          results,
          bulk: []
        }))
    },
    procedures
  )
