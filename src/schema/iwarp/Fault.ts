/**
 * Faults of a peer's stream. These are values, never thrown, and plain objects, so
 * that a worker can pass them on.
 */

/** The start-up frames cannot lead to a stream. There is nothing to terminate yet: close. */
export type StartupFault =
  | { readonly _tag: "WrongKey"; readonly expected: "request" | "reply"; readonly at: number }
  | { readonly _tag: "UnknownRevision"; readonly revision: number }
  | { readonly _tag: "PrivateDataTooLong"; readonly length: number; readonly limit: number }
  | { readonly _tag: "PrefixMissing"; readonly length: number }

/** The bytes of the stream are not FPDUs as agreed. All later bytes are untrusted. */
export type FramingFault =
  | { readonly _tag: "CrcMismatch"; readonly carried: number; readonly computed: number }
  | { readonly _tag: "BadLength"; readonly length: number; readonly limit: number }
  | { readonly _tag: "BadMarker"; readonly pointer: number; readonly expected: number }

/**
 * A well-formed segment requested access that it may not have. `layer`, `type` and `code` are those
 * of the Terminate that answers it.
 */
export interface Refused {
  readonly _tag: "Refused"
  readonly layer: number
  readonly type: number
  readonly code: number
  readonly opcode: number
}

/** Everything that ends a stream in full operation. */
export type StreamFault = FramingFault | Refused
