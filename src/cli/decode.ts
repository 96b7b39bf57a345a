/**
 * `handfast decode PROTOCOL`: hex on standard input, one JSON line a frame on standard output.
 *
 * Each line of input holds the bytes that one side sent at once, as hex, optionally after `c2s`
 * or `s2c`. All lines belong to one conversation, so a decoder may use what earlier lines settled.
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { DecodedFrame, Direction, FrameDecoder } from "../schema/FrameDecoder.ts"
import type { Protocols } from "./protocols.ts"
import { intBetween } from "./ranges.ts"

class UnknownProtocol extends Schema.TaggedError<UnknownProtocol>()("UnknownProtocol", {
  protocol: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get [CliError.userMessage]() {
    const known = this.known.length === 0 ? "none yet" : this.known.join(", ")
    return `There is no protocol ${JSON.stringify(this.protocol)}. Known: ${known}.`
  }
}

class NotHex extends Schema.TaggedError<NotHex>()("NotHex", {
  line: Schema.Int,
  text: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 2
  override get [CliError.userMessage]() {
    return `Line ${this.line} is not hex, optionally after c2s or s2c: ${JSON.stringify(this.text)}`
  }
}

class LineTooLong extends Schema.TaggedError<LineTooLong>()("LineTooLong", {
  line: Schema.Int,
  limit: Schema.Int
}) {
  override readonly [Runtime.errorExitCode] = 2
  override get [CliError.userMessage]() {
    return `Line ${this.line} is longer than ${this.limit} characters (--max-line)`
  }
}

/** No text is longer. */
const MOST_CHARACTERS = 2 ** 29

interface Line {
  readonly number: number
  readonly text: string
}

/** Cuts text into lines and holds at most one unfinished line, never more than its limit. */
const cut =
  (limit: number) =>
  <E, R>(text: Stream.Stream<string, E, R>): Stream.Stream<Line, E | LineTooLong, R> =>
    text.pipe(
      Stream.mapAccum(
        (): Line => ({ number: 1, text: "" }),
        (rest, chunk) => {
          const lines = (rest.text + chunk)
            .split("\n")
            .map((text, index) => ({ number: rest.number + index, text }))
          const last = lines.pop()!
          // An unfinished line that is too long already is passed on, to be refused.
          return last.text.length > limit ? [last, [...lines, last]] : [last, lines]
        },
        { onHalt: (rest) => [rest] }
      ),
      Stream.mapEffect((line) =>
        line.text.length > limit
          ? Effect.fail(new LineTooLong({ line: line.number, limit }))
          : Effect.succeed(line)
      )
    )

const shape = /^(?:(c2s|s2c)\s+)?((?:[0-9a-f]{2}\s*)+)$/i

/** The bytes of a line and their sender; undefined for a blank line and a comment. */
const parse = Effect.fnUntraced(function* ({ number, text }: Line) {
  const trimmed = text.trim()
  if (trimmed === "" || trimmed.startsWith("#")) return undefined
  const [, direction, digits] = shape.exec(trimmed) ?? []
  if (digits === undefined) {
    return yield* new NotHex({ line: number, text: trimmed.slice(0, 60) })
  }
  const bytes = new Uint8Array(Buffer.from(digits.replaceAll(/\s/g, ""), "hex"))
  return { direction: direction?.toLowerCase() as Direction | undefined, bytes }
})

/**
 * JSON has no bigint and no bytes: they become decimal digits and hex. A `Buffer` has turned itself
 * into an object when the function is called, so the field is read from its holder.
 */
const toJson = (value: unknown): string =>
  JSON.stringify(value, function (this: Readonly<Record<string, unknown>>, key, json: unknown) {
    const field = this[key]
    if (typeof field === "bigint") return field.toString()
    return field instanceof Uint8Array ? Hex.encode(field) : json
  })

const render = (decoder: FrameDecoder, line: Line) =>
  Effect.map(parse(line), (input) => {
    let output = ""
    if (input === undefined) return output
    const frames: Iterable<DecodedFrame> = decoder.decode(input.bytes, input.direction)
    for (const frame of frames) output += `${toJson(frame)}\n`
    return output
  })

/** The command over a table of protocols. */
export const decode = (protocols: Protocols) =>
  Command.make(
    "decode",
    {
      protocol: Argument.String("protocol").pipe(
        Argument.withDescription(
          `The protocol that the bytes belong to: ${Object.keys(protocols).join(", ")}`
        )
      ),
      maxLine: intBetween("max-line", 1, MOST_CHARACTERS).pipe(
        Flag.withDescription(
          "Longest line in characters; it bounds the memory that hostile input can take"
        ),
        Flag.withDefault(4_194_304)
      )
    },
    Effect.fnUntraced(function* ({ maxLine, protocol }) {
      const make = Object.hasOwn(protocols, protocol) ? protocols[protocol] : undefined
      if (make === undefined) {
        return yield* new UnknownProtocol({ protocol, known: Object.keys(protocols) })
      }
      const decoder = make()
      const stdio = yield* Stdio.Stdio
      yield* stdio.stdin.pipe(
        Stream.decodeText,
        cut(maxLine),
        Stream.mapEffect((line) => render(decoder, line)),
        Stream.filter((output) => output !== ""),
        Stream.run(stdio.stdout())
      )
    })
  ).pipe(
    Command.withDescription("Read hex lines, print each frame as a line of JSON"),
    Command.withExamples([
      {
        command: "echo 'c2s 524d' | handfast decode bus",
        description: "Decode bytes that the connecting side sent"
      }
    ])
  )
