/**
 * Goal: schemas are XDR byte for byte, come back as they were, and hostile bytes end in a typed
 * error without an allocation that they claim.
 * Method: encodings written by hand after RFC 4506, every prefix of them, and shapes that XDR does
 * not have.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Xdr from "../../../src/schema/rpc/XdrSchema.ts"
import { bytesOf, hexOf } from "./vectors.ts"

class Refused extends Schema.TaggedError<Refused>()("Refused", { status: Xdr.Uint32 }) {}

const Found = Schema.TaggedStruct("Found", { size: Xdr.Uint64, data: Xdr.Bulk(64) })

const cases: ReadonlyArray<readonly [string, Schema.Codec<unknown>, unknown, string]> = [
  ["a signed number", Xdr.Int32, -2, "fffffffe"],
  ["an unsigned number", Xdr.Uint32, 2 ** 32 - 1, "ffffffff"],
  ["a signed hyper", Xdr.Int64, -1n, "ffffffffffffffff"],
  ["an unsigned hyper", Xdr.Uint64, 2n ** 64n - 1n, "ffffffffffffffff"],
  ["a double", Xdr.Float64, -1.5, "bff8000000000000"],
  ["a boolean", Schema.Boolean, true, "00000001"],
  ["nothing", Schema.Void, undefined, ""],
  ["a text", Xdr.Text(8), "sillü", "00000006 73696c6cc3bc0000"],
  ["bytes", Xdr.Opaque(8), Uint8Array.of(1, 2, 3), "00000003 01020300"],
  ["bytes of a known length", Xdr.FixedOpaque(5), Uint8Array.of(1, 2, 3, 4, 5), "0102030405000000"],
  ["an enum", Schema.Literals([2, 3, 5]), 3, "00000003"],
  ["optional data", Schema.UndefinedOr(Xdr.Uint32), 7, "0000000100000007"],
  ["no optional data", Schema.UndefinedOr(Xdr.Uint32), undefined, "00000000"],
  ["a tuple", Schema.Tuple([Xdr.Uint32, Schema.Boolean]), [1, false], "0000000100000000"],
  ["an array", Xdr.Counted(Xdr.Uint32, 3), [7, 8], "00000002 0000000700000008"],
  ["a list", Xdr.List(Xdr.Uint32, 3), [7, 8], "0000000100000007 0000000100000008 00000000"],
  ["a struct", Schema.Struct({ a: Xdr.Uint32, b: Xdr.Int32 }), { a: 1, b: -1 }, "00000001ffffffff"],
  [
    "an arm of a switch",
    Xdr.Switch({ 0: Found }, Refused),
    { _tag: "Found", size: 3n, data: Uint8Array.of(9) },
    "00000000 0000000000000003 00000001 09000000"
  ],
  [
    "the default arm of a switch, a class",
    Xdr.Switch({ 0: Found }, Refused),
    new Refused({ status: 70 }),
    "00000046"
  ],
  [
    "a value that is transformed",
    Xdr.Text(8).pipe(Schema.decodeTo(Schema.NumberFromString)),
    42,
    "00000002 34320000"
  ]
]

describe("a schema in XDR", () => {
  it.effect.each(cases)("is written and read: %s", ([, schema, value, hex]) =>
    Effect.gen(function* () {
      const codec = Xdr.toCodec(schema)
      const { bytes } = yield* codec.encode(value)
      assert.strictEqual(hexOf(bytes), hex.replaceAll(" ", ""))
      assert.deepStrictEqual(yield* codec.decode(bytes), value)
      assert.isAtMost(bytes.length, codec.maxBytes + codec.bulk.reduce((sum, max) => sum + max, 0))
      for (let length = 0; length < bytes.length; length++) {
        const error = yield* Effect.flip(codec.decode(bytes.subarray(0, length)))
        assert.strictEqual(error._tag, "RpcMalformed", `${length} bytes`)
      }
      const longer = Uint8Array.of(...bytes, 0, 0, 0, 0)
      assert.strictEqual((yield* Effect.flip(codec.decode(longer)))._tag, "RpcMalformed")
    })
  )

  it.effect("tells where its bulk data is, and takes it from beside the bytes", () =>
    Effect.gen(function* () {
      const codec = Xdr.toCodec(Xdr.Switch({ 0: Found }, Refused))
      assert.deepStrictEqual([codec.maxBytes, codec.bulk], [16, [64]])
      const value = { _tag: "Found", size: 3n, data: Uint8Array.of(7, 8, 9, 10) } as const
      const { bulk, bytes } = yield* codec.encode(value)
      assert.deepStrictEqual(bulk, [{ offset: 16, length: 4 }])
      const reduced = bytes.slice(0, 16)
      assert.deepStrictEqual(yield* codec.decode(reduced, [value.data]), value)
      assert.deepStrictEqual(yield* codec.decode(bytes, [new Uint8Array(0)]), value)
      const wrong = yield* Effect.flip(codec.decode(reduced, [Uint8Array.of(1)]))
      assert.strictEqual(wrong._tag, "RpcMalformed")
    })
  )

  it.effect.each([
    ["more values than the limit", Xdr.Counted(Xdr.Uint32, 2), "00000003 00".repeat(12)],
    ["a count that memory does not hold", Xdr.Counted(Schema.Void, 2), "ffffffff"],
    [
      "a list longer than its limit",
      Xdr.List(Schema.Void, 2),
      "00000001 00000001 00000001 00000000"
    ],
    ["bytes longer than their limit", Xdr.Opaque(2), "00000003 01020300"],
    ["bulk data longer than its limit", Xdr.Bulk(2), "00000003 01020300"],
    ["a boolean that is neither", Schema.Boolean, "00000002"],
    ["an unknown number of an enum", Schema.Literals([1, 2]), "00000003"],
    ["an unknown arm", Xdr.Switch({ 0: Found }), "00000001"]
  ] as const)("is refused: %s", ([, schema, hex]) =>
    Effect.gen(function* () {
      const codec = Xdr.toCodec<unknown>(schema)
      const error = yield* Effect.flip(codec.decode(bytesOf(hex.replaceAll(" ", ""))))
      assert.strictEqual(error._tag, "RpcMalformed")
    })
  )

  it.effect.each([
    ["a number out of its range", Xdr.Uint32, -1],
    ["a text that is too long", Xdr.Text(3), "üü"],
    ["bytes that are too long", Xdr.Opaque(2), new Uint8Array(3)],
    ["too many values", Xdr.Counted(Xdr.Uint32, 1), [1, 2]]
  ] as const)("is not written: %s", ([, schema, value]) =>
    Effect.gen(function* () {
      const codec = Xdr.toCodec<unknown>(schema)
      assert.strictEqual((yield* Effect.flip(codec.encode(value)))._tag, "SchemaError")
    })
  )

  it.each([
    ["a plain number", Schema.Struct({ a: Schema.Number }), /value\.a: XDR has no Number/],
    ["a plain array", Schema.Array(Xdr.Uint32), /value: XDR has no Arrays/],
    ["a field that may be missing", Schema.Struct({ a: Schema.optional(Xdr.Uint32) }), /value\.a/],
    ["a record", Schema.Record(Schema.String, Xdr.Uint32), /value: XDR has no Objects/],
    ["a plain union", Schema.Union([Found, Refused]), /beside XdrSchema\.Switch/]
  ] as const)("is refused when its codec is made: %s", (_, schema, message) => {
    assert.throws(() => Xdr.toCodec<unknown>(schema), message)
  })
})
