/** Frames and streams of real servers, and malformed frames with what must become of them. */
import { readFileSync } from "node:fs"

export interface Vector {
  readonly name: string
  readonly hex: string
  readonly expect: Readonly<Record<string, unknown>>
}

export interface Malformed {
  readonly name: string
  readonly hex: string
  /** `accept: ...`, `drop ...` or `close ...`. */
  readonly require: string
}

interface Vectors {
  readonly frames: ReadonlyArray<Vector>
  readonly streams: ReadonlyArray<{
    readonly name: string
    readonly hex: string
    readonly frames: ReadonlyArray<{ readonly len: number; readonly light: boolean }>
  }>
  readonly malformed: { readonly cases: ReadonlyArray<Malformed> }
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL("../../vectors/bus-frames.json", import.meta.url), "utf8")
)

export const { frames, streams } = vectors
export const malformed = vectors.malformed.cases

export const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"))
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** The bytes of a frame that a server sent. */
export const frame = (name: string): Uint8Array => {
  const found = frames.find((vector) => vector.name === name)
  if (found === undefined) throw new Error(`there is no frame ${name}`)
  return bytesOf(found.hex)
}
