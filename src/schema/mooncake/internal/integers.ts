/** The integers that Mooncake writes, by their width. */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

export const U16 = upTo(0xffff)
export const U32 = upTo(0xffff_ffff)

export const largestU64 = 0xffff_ffff_ffff_ffffn

const Wide = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: largestU64 }))

/** JSON gives a number as long as that is exact, and a bigint beyond it. */
export const U64 = Schema.Union([upTo(Number.MAX_SAFE_INTEGER), Wide]).pipe(
  Schema.decodeTo(
    Wide,
    SchemaTransformation.transform({ decode: (integer) => BigInt(integer), encode: (wide) => wide })
  )
)
