/** One procedure of a typed program: its values as arguments and results in XDR. */
import * as SchemaBinary from "effect/encoding/SchemaBinary"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import { RpcMalformed } from "../../../schema/rpc/RpcRdmaFault.ts"
import { XdrReader, XdrWriter } from "../../../schema/rpc/Xdr.ts"
import * as XdrSchema from "../../../schema/rpc/XdrSchema.ts"

/**
 * How values travel: `xdr` as their schemas say item by item, for programs that exist; `binary` by
 * `effect/encoding/SchemaBinary`, for new ones, whose schemas may be any and may evolve.
 */
export type Encoding = "xdr" | "binary"

/** The longest results that arguments lead to. In `binary`, a value is one bulk data as a whole. */
export interface Longest {
  /**
   * Without bulk data; in `binary`, of the whole value, which is longer than its texts and bytes by
   * what names its fields. Default: what the schema allows.
   */
  readonly bytes?: number | undefined
  /** Each bulk data, in order. Default: what the schema allows; in `binary`, `bytes`. */
  readonly bulk?: ReadonlyArray<number> | undefined
}

export interface ProcedureOptions<Payload> {
  /** It may be executed twice without harm. Default: false. */
  readonly isIdempotent?: boolean | undefined
  /**
   * The longest results that a payload leads to: less memory is lent, and bulk data in arrays is
   * counted. Default: what the schemas allow or, for `binary`, 4000 bytes, which fit inline.
   */
  readonly longest?: ((payload: Payload) => Longest) | undefined
}

/** The result of a handler, as its caller gets it. */
export type Outcome =
  | { readonly _tag: "Success"; readonly value: unknown }
  | { readonly _tag: "Failure"; readonly error: unknown }

type Codec = XdrSchema.XdrCodec<unknown>

/** The longest results of `binary` without a hint: with its headers, a reply of 4096 bytes. */
const binaryBytes = 4_000

/** Bytes on the wire are bounded by those that are there. */
const anyLength = 0x7fff_ffff

const codecOf = (schema: Schema.Constraint, encoding: Encoding, name: string): Codec => {
  // Services that a schema needs are those of the effects that the caller sees.
  const codec = schema as Schema.Codec<unknown>
  return encoding === "xdr"
    ? XdrSchema.toCodec(codec, name)
    : XdrSchema.toCodec(XdrSchema.embedded(SchemaBinary.toCodec(codec), anyLength), name)
}

const concat = (word: number, { bulk, bytes }: XdrSchema.Encoded): XdrSchema.Encoded => ({
  bytes: new XdrWriter().uint32(word).raw(bytes).bytes(),
  bulk: bulk.map(({ length, offset }) => ({ offset: offset + 4, length }))
})

export class TypedProcedure {
  readonly rpc: Rpc.AnyWithProps
  readonly number: number
  readonly isIdempotent: boolean
  readonly #longest: (payload: never) => Longest
  readonly #payload: Codec
  readonly #success: Codec
  /** Undefined if it cannot fail: then nothing but the success is in the results. */
  readonly #error: Codec | undefined
  readonly #encoding: Encoding

  constructor(
    rpc: Rpc.AnyWithProps,
    number: number,
    encoding: Encoding,
    { isIdempotent = false, longest = () => ({}) }: ProcedureOptions<never>
  ) {
    const { _tag: name, errorSchema, payloadSchema, successSchema } = rpc
    if (RpcSchema.isStreamSchema(successSchema)) {
      throw new TypeError(`${name}: a procedure of ONC RPC has one reply, so it is no stream`)
    }
    this.rpc = rpc
    this.number = number
    this.isIdempotent = isIdempotent
    this.#longest = longest
    this.#encoding = encoding
    this.#payload = codecOf(payloadSchema, encoding, `${name}.payload`)
    this.#success = codecOf(successSchema, encoding, `${name}.success`)
    const isFailing = errorSchema.ast._tag !== "Never"
    this.#error = isFailing ? codecOf(errorSchema, encoding, `${name}.error`) : undefined
  }

  encodePayload(payload: unknown): Effect.Effect<XdrSchema.Encoded> {
    return Effect.orDie(this.#payload.encode(payload))
  }

  decodePayload(args: Uint8Array): Effect.Effect<unknown, RpcMalformed | Schema.SchemaError> {
    return this.#payload.decode(args)
  }

  /** The longest results: all their bytes, and each bulk data. */
  longest(payload: unknown): { readonly bytes: number; readonly bulk: ReadonlyArray<number> } {
    const hint = this.#longest(payload as never)
    const isBinary = this.#encoding === "binary"
    const codecs = this.#error === undefined ? [this.#success] : [this.#success, this.#error]
    const longest = Math.max(...codecs.map(({ bulk }) => bulk.length))
    const allowed = Array.from({ length: longest }, (_, index) =>
      isBinary
        ? (hint.bytes ?? binaryBytes)
        : Math.max(...codecs.map(({ bulk }) => bulk[index] ?? 0))
    )
    const bulk = hint.bulk ?? allowed
    const rest =
      (isBinary ? undefined : hint.bytes) ?? 4 + Math.max(...codecs.map(({ maxBytes }) => maxBytes))
    return { bytes: bulk.reduce((sum, bytes) => sum + ((bytes + 3) & ~3), rest), bulk }
  }

  /**
   * With an error schema, the results begin with a word: 0, and then the success, or the error. In
   * XDR the error begins with that word itself, as a status that is not 0.
   */
  encodeOutcome(outcome: Outcome): Effect.Effect<XdrSchema.Encoded> {
    const error = this.#error
    if (outcome._tag === "Success") {
      const success = Effect.orDie(this.#success.encode(outcome.value))
      return error === undefined ? success : Effect.map(success, (results) => concat(0, results))
    }
    if (error === undefined) return Effect.die(outcome.error)
    const failure = Effect.orDie(error.encode(outcome.error))
    if (this.#encoding === "binary") return Effect.map(failure, (results) => concat(1, results))
    return Effect.tap(failure, ({ bytes }) =>
      firstWord(bytes) === 0
        ? Effect.die(new RangeError(`${this.rpc._tag}: an error of status 0, which is success`))
        : Effect.void
    )
  }

  decodeOutcome(
    results: Uint8Array,
    bulk: ReadonlyArray<Uint8Array>
  ): Effect.Effect<Outcome, RpcMalformed | Schema.SchemaError> {
    const succeed = (bytes: Uint8Array) =>
      Effect.map(this.#success.decode(bytes, bulk), (value): Outcome => ({
        _tag: "Success",
        value
      }))
    const error = this.#error
    if (error === undefined) return succeed(results)
    const word = firstWord(results)
    if (word === undefined) return Effect.fail(new RpcMalformed({ detail: "results of no status" }))
    if (word === 0) return succeed(results.subarray(4))
    return Effect.map(
      error.decode(this.#encoding === "binary" ? results.subarray(4) : results, bulk),
      (error): Outcome => ({ _tag: "Failure", error })
    )
  }
}

const firstWord = (bytes: Uint8Array): number | undefined =>
  bytes.length < 4 ? undefined : new XdrReader(bytes).uint32()
