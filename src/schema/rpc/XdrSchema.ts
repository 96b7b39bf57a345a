/**
 * XDR (RFC 4506) derived from Effect schemas, so that the arguments and results of an existing
 * program are described once.
 *
 * The bytes follow the encoded side of a schema: structs field by field, tuples, booleans, unions
 * of literal numbers as enums, `UndefinedOr` as optional data, and the items of this module, which
 * say how a number, a text or an array travels. Literal texts, such as a `_tag`, are not sent.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as items from "./internal/xdrItems.ts"
import { RpcMalformed } from "./RpcRdmaFault.ts"
import { XdrReader, XdrWriter } from "./Xdr.ts"

export type { BulkRange } from "./internal/xdrItems.ts"

const item = (item: items.Item) => items.noted({ _tag: "Item", item })

const integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const bigint = (minimum: bigint, maximum: bigint) =>
  Schema.BigInt.check(Schema.isBetweenBigInt({ minimum, maximum }))

export const Int32 = integer(-(2 ** 31), 2 ** 31 - 1).annotate(item(items.int32))
export const Uint32 = integer(0, 2 ** 32 - 1).annotate(item(items.uint32))
export const Int64 = bigint(-(2n ** 63n), 2n ** 63n - 1n).annotate(item(items.int64))
export const Uint64 = bigint(0n, 2n ** 64n - 1n).annotate(item(items.uint64))
export const Float64 = Schema.Number.annotate(item(items.float64))

const byteLength = (text: string): number => Buffer.byteLength(text)

/** A text of at most so many bytes in UTF-8. */
export const Text = (maxBytes: number) =>
  Schema.String.check(
    Schema.makeFilter((text: string) => byteLength(text) <= maxBytes, {
      expected: `a text of at most ${maxBytes} bytes`
    })
  ).annotate(item(items.text(maxBytes)))

const bytesOfAtMost = (maxBytes: number) => Schema.Uint8Array.check(Schema.isMaxLength(maxBytes))

/** At most so many bytes. */
export const Opaque = (maxBytes: number) =>
  bytesOfAtMost(maxBytes).annotate(item(items.opaque(maxBytes)))

/** Bytes of a length that both sides know. */
export const FixedOpaque = (bytes: number) =>
  Schema.Uint8Array.check(Schema.isBetweenLength(bytes, bytes)).annotate(
    item(items.fixedOpaque(bytes))
  )

/**
 * At most so many bytes that may travel by a chunk of their own, because the upper-layer binding of
 * the program says so (DDP-eligible). Small ones travel inline like any other.
 */
export const Bulk = (maxBytes: number) =>
  bytesOfAtMost(maxBytes).annotate(item(items.bulk(maxBytes)))

/** An array of at most `max` values, behind their number. */
export const Counted = <Value extends Schema.Constraint>(value: Value, max: number) =>
  Schema.Array(value)
    .check(Schema.isMaxLength(max))
    .annotate(items.noted({ _tag: "Many", max, isList: false }))

/** A linked list of at most `max` values: each behind a mark that there is one. */
export const List = <Value extends Schema.Constraint>(value: Value, max: number) =>
  Schema.Array(value)
    .check(Schema.isMaxLength(max))
    .annotate(items.noted({ _tag: "Many", max, isList: true }))

/** Bytes that another codec makes, as bulk data of at most so many bytes. */
export const embedded = <Value>(codec: Schema.Codec<Value, Uint8Array>, maxBytes: number) =>
  codec.pipe(Schema.annotateEncoded(item(items.bulk(maxBytes)))) as typeof codec

type TaggedStruct = Schema.Codec<{ readonly _tag: string }, unknown>

/**
 * A discriminated union. Each arm is a struct whose `_tag` tells it from the others in a program,
 * and whose number does on the wire. The default arm, for all other numbers, has the number itself
 * as its first field.
 */
export const Switch = <
  Arms extends Readonly<Record<number, TaggedStruct>>,
  Default extends TaggedStruct = never
>(
  arms: Arms,
  otherwise?: Default
): Schema.Codec<
  Arms[keyof Arms & number]["Type"] | Default["Type"],
  Arms[keyof Arms & number]["Encoded"] | Default["Encoded"]
> => {
  const armOf = (schema: TaggedStruct, discriminant: number | "default") =>
    schema.pipe(Schema.annotateEncoded(items.noted({ _tag: "Arm", discriminant })))
  const numbered = Object.entries(arms).map(([number, arm]) => armOf(arm, Number(number)))
  return Schema.Union(
    otherwise === undefined ? numbered : [...numbered, armOf(otherwise, "default")]
  ) as never
}

/** A value in XDR, and where its bulk data is. */
export interface Encoded {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly bulk: ReadonlyArray<items.BulkRange>
}

/** Reads and writes the values of one schema. */
export interface XdrCodec<Value> {
  /** The longest value, without its bulk data. */
  readonly maxBytes: number
  /** The longest of each bulk data. Those in arrays count as bytes of the value. */
  readonly bulk: ReadonlyArray<number>
  readonly encode: (value: Value) => Effect.Effect<Encoded, Schema.SchemaError>
  /** `bulk` is data that came beside the bytes, empty where it is among them. */
  readonly decode: (
    bytes: Uint8Array,
    bulk?: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<Value, RpcMalformed | Schema.SchemaError>
}

/** Makes the codec of a schema. Throws, naming the place, if XDR cannot express it. */
export const toCodec = <Value>(
  schema: Schema.Codec<Value, unknown>,
  name = "value"
): XdrCodec<Value> => {
  const item = items.itemOf(schema, name)
  const encode = Schema.encodeUnknownEffect(schema)
  const decode = Schema.decodeUnknownEffect(schema)
  return {
    maxBytes: item.maxBytes,
    bulk: item.bulk,
    encode: (value) =>
      Effect.map(encode(value), (encoded) => {
        const to: items.Writing = { writer: new XdrWriter(), bulk: [] }
        item.write(encoded, to)
        return { bytes: to.writer.bytes(), bulk: to.bulk }
      }),
    decode: (bytes, beside = []) =>
      Effect.suspend((): Effect.Effect<Value, RpcMalformed | Schema.SchemaError> => {
        const reader = new XdrReader(bytes)
        const value = item.read({ reader, bulk: beside, bulkRead: 0 })
        return reader.failed || reader.remaining > 0
          ? Effect.fail(new RpcMalformed({ detail: `no ${name} in XDR` }))
          : decode(value)
      })
  }
}
