/** The methods of a typed client, over a client whose calls are bytes. */
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type { Auth } from "../../../schema/rpc/RpcMessage.ts"
import type { Range } from "./planning.ts"
import { CallRefused } from "../RpcError.ts"
import type { TypedProcedure } from "./typedProcedure.ts"

/** Options of a call beside its payload. */
export interface CallOptions {
  /** Default: none. */
  readonly credential?: Auth | undefined
}

/** One method for each procedure. */
export type Methods<Rpcs extends Rpc.Any, E> = {
  readonly [R in Rpcs as R["_tag"]]: (
    payload: Rpc.PayloadConstructor<R>,
    options?: CallOptions
  ) => Effect.Effect<Rpc.Success<R>, Rpc.Error<R> | E, Rpc.ServicesClient<R>>
}

/** A client whose calls are bytes. */
interface BytesClient<E> {
  readonly call: (request: {
    readonly procedure: number
    readonly args: Uint8Array
    readonly bulkArgs: ReadonlyArray<Range>
    readonly maxResultBytes: number
    readonly bulkResults: ReadonlyArray<number>
    readonly isIdempotent: boolean
    readonly credential: Auth | undefined
  }) => Effect.Effect<{ readonly results: Uint8Array; readonly bulk: ReadonlyArray<Uint8Array> }, E>
}

const method =
  <E>(client: BytesClient<E>, procedure: TypedProcedure) =>
  (payload: unknown, { credential }: CallOptions = {}) =>
    Effect.gen(function* () {
      const { isIdempotent, number, rpc } = procedure
      const made = rpc.payloadSchema.make(payload)
      const { bulk: bulkArgs, bytes: args } = yield* procedure.encodePayload(made)
      const { bulk: bulkResults, bytes: maxResultBytes } = procedure.longest(made)
      const { bulk, results } = yield* client.call({
        procedure: number,
        args,
        bulkArgs: bulkArgs.filter(({ length }) => length > 0),
        maxResultBytes,
        bulkResults,
        isIdempotent,
        credential
      })
      const malformed = () => new CallRefused({ reason: "malformed-reply", procedure: number })
      const outcome = yield* Effect.mapError(procedure.decodeOutcome(results, bulk), malformed)
      return outcome._tag === "Success" ? outcome.value : yield* Effect.fail(outcome.error)
    })

/** The methods of procedures, which are those of `Rpcs`. */
export const methodsOf = <Rpcs extends Rpc.Any, E>(
  client: BytesClient<E>,
  procedures: ReadonlyArray<TypedProcedure>
): Methods<Rpcs, E> => {
  const entries = procedures.map((one) => [one.rpc._tag, method(client, one)] as const)
  return Object.fromEntries<unknown>(entries) as Methods<Rpcs, E>
}
