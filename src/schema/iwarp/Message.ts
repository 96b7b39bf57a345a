/**
 * Every DDP segment that RDMAP sends, as values with a Schema. The encoded side of the Schema is
 * the form for tools: words and offsets in hex, bytes as hex digits, flags as 0 and 1.
 *
 * `MessageCodec` converts them to bytes and back.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

const maximumWord = 0xffff_ffff
const maximumValue = 0xffff_ffff_ffff_ffffn

const Flag = Schema.Literals([0, 1])
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maximumWord }))
const Long = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: maximumValue }))
const HexBytes = Schema.Uint8ArrayFromHex

const Word = Schema.String.check(Schema.isPattern(/^0x[0-9a-f]{8}$/)).pipe(
  Schema.decodeTo(
    Count,
    SchemaTransformation.transform({
      decode: (text) => Number(text),
      encode: (word) => `0x${word.toString(16).padStart(8, "0")}`
    })
  )
)
const hexLong = (digits: number) =>
  Schema.String.check(Schema.isPattern(/^0x[0-9a-f]{1,16}$/)).pipe(
    Schema.decodeTo(
      Long,
      SchemaTransformation.transform({
        decode: (text) => BigInt(text),
        encode: (long) => `0x${long.toString(16).padStart(digits, "0")}`
      })
    )
  )
const Offset = hexLong(16)
const Value = hexLong(1)
const HexWord = Schema.String.check(Schema.isPattern(/^[0-9a-f]{16}$/)).pipe(
  Schema.decodeTo(
    Long,
    SchemaTransformation.transform({
      decode: (digits) => BigInt(`0x${digits}`),
      encode: (long) => long.toString(16).padStart(16, "0")
    })
  )
)

export const Write = Schema.TaggedStruct("Write", {
  last: Flag,
  stag: Word,
  to: Offset,
  payload: HexBytes
})

export const ReadResponse = Schema.TaggedStruct("ReadResponse", {
  last: Flag,
  stag: Word,
  to: Offset,
  payload: HexBytes
})

/** A Send, with or without a solicited event; with `invalidateStag` it invalidates that STag. */
export const Send = Schema.TaggedStruct("Send", {
  last: Flag,
  solicited: Flag,
  invalidateStag: Schema.optionalKey(Word),
  msn: Count,
  mo: Count,
  payload: HexBytes
})

export const ReadRequest = Schema.TaggedStruct("ReadRequest", {
  msn: Count,
  sinkStag: Word,
  sinkTo: Offset,
  readSize: Count,
  srcStag: Word,
  srcTo: Offset
})

/** Eight bytes of immediate data, which consume a receive. */
export const Immediate = Schema.TaggedStruct("Immediate", {
  solicited: Flag,
  msn: Count,
  payload: HexWord
})

const atomicFields = { msn: Count, requestId: Count, remoteStag: Word, remoteTo: Offset }

export const FetchAdd = Schema.TaggedStruct("FetchAdd", {
  ...atomicFields,
  addData: Value,
  addMask: Value
})

export const CompareSwap = Schema.TaggedStruct("CompareSwap", {
  ...atomicFields,
  swapData: Value,
  swapMask: Value,
  compareData: Value,
  compareMask: Value
})

export const AtomicResponse = Schema.TaggedStruct("AtomicResponse", {
  msn: Count,
  originalRequestId: Count,
  originalValue: Value
})

const Nibble = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 15 }))

/** `order` is set when the peer did not use the RFC's order, or when it cannot be decided. */
export const TerminateMessage = Schema.TaggedStruct("Terminate", {
  msn: Count,
  layer: Nibble,
  etype: Nibble,
  code: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })),
  ddpSegLen: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65535 }))),
  terminatedDdpHeader: Schema.optionalKey(HexBytes),
  terminatedRdmaHeader: Schema.optionalKey(HexBytes),
  order: Schema.optionalKey(Schema.Literals(["swapped", "either"]))
})

export const Message = Schema.Union([
  Write,
  ReadResponse,
  Send,
  ReadRequest,
  Immediate,
  FetchAdd,
  CompareSwap,
  AtomicResponse,
  TerminateMessage
])

export type Message = typeof Message.Type
