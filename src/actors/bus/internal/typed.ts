/** Publications as values of a Schema: its canonical JSON in UTF-8. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Missed, Published, Subscribers } from "./subscribers.ts"

/** A value that a node published. */
export interface Received<A> {
  readonly _tag: "Received"
  /** The id of the node that passed it on. */
  readonly from: string
  readonly value: A
}

/** A publication that is no value of its subscriber's Schema. */
export interface Undecoded extends Omit<Published, "_tag"> {
  readonly _tag: "Undecoded"
  readonly detail: string
}

/** A Schema whose values can be published. */
export type Codec<A> = Schema.ConstraintCodec<A, unknown>

const utf8 = new TextDecoder("utf-8", { fatal: true })

/** Any client may publish: what is told of its mistakes is cut to so many characters. */
const longestDetail = 300

const textCodecOf = <A>(schema: Codec<A>) => Schema.fromJsonString(Schema.toCodecJson(schema))

/** Returns the bytes of a value. */
export const encode = <A>(
  schema: Codec<A>,
  value: A
): Effect.Effect<Uint8Array, Schema.SchemaError> =>
  Effect.map(Schema.encodeEffect(textCodecOf(schema))(value), (text) => Buffer.from(text))

/** Decodes what a subscriber gets; what is no value goes to `undecoded`. */
export const decode = <A>(
  stream: Stream.Stream<Published | Missed>,
  schema: Codec<A>,
  undecoded: Subscribers<Undecoded>
): Stream.Stream<Received<A> | Missed> => {
  const decodeText = Schema.decodeUnknownResult(textCodecOf(schema))
  const valueOf = (message: Uint8Array): Result.Result<A, string> => {
    let text: string
    try {
      text = utf8.decode(message)
    } catch {
      return Result.fail("not UTF-8")
    }
    return Result.mapError(decodeText(text), (error) => error.message.slice(0, longestDetail))
  }
  return Stream.filterMap(stream, (element): Result.Result<Received<A> | Missed, void> => {
    if (element._tag === "Missed") return Result.succeed(element)
    const value = valueOf(element.message)
    if (Result.isFailure(value)) {
      undecoded.deliver({ ...element, detail: value.failure }, (rest) => ({
        ...rest,
        _tag: "Undecoded"
      }))
      return Result.failVoid
    }
    return Result.succeed({ _tag: "Received", from: element.from, value: value.success })
  })
}
