/** Messages of `effect/rpc` as bytes, by the serialization that a program has chosen. */
import type { FromClientEncoded, FromServerEncoded } from "effect/rpc/RpcMessage"
import type { Parser, RpcSerialization } from "effect/rpc/RpcSerialization"
import { copyOf } from "../../../../schema/copyBytes.ts"

const toUtf8 = new TextEncoder()

/** Each message stands alone: they may overtake each other. */
export class MessageCodec {
  readonly #serialization: RpcSerialization["Service"]
  #parser: Parser

  constructor(serialization: RpcSerialization["Service"]) {
    this.#serialization = serialization
    this.#parser = serialization.makeUnsafe()
  }

  /** Bytes of the caller; none if the serialization has no form for the message. */
  encode(message: FromClientEncoded | FromServerEncoded): Uint8Array {
    const encoded = this.#parser.encode(message) ?? new Uint8Array(0)
    return typeof encoded === "string" ? toUtf8.encode(encoded) : copyOf(encoded, 0, encoded.length)
  }

  /** The message in bytes; undefined if there is not exactly one. */
  decode(bytes: Uint8Array): unknown {
    try {
      const messages = this.#parser.decode(bytes)
      if (messages.length === 1) return messages[0]
    } catch {
      // As below.
    }
    // What is left of bytes that are no message must not be read with the next ones.
    this.#parser = this.#serialization.makeUnsafe()
    return undefined
  }
}
