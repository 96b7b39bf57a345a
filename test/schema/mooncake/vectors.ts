/** What passed through the handshake port of Mooncake, before and after it had a ready ACK. */
import { readFileSync } from "node:fs"
import * as Result from "effect/Result"
import { type Frame, FrameReader } from "../../../src/schema/mooncake/Frame.ts"
import { bytesOfHex } from "../iwarp/vectors.ts"

export { hexOf, bytesOfHex } from "../iwarp/vectors.ts"

export interface Sent {
  readonly hex: string
  readonly length: number
  readonly type: number | null
  readonly text: string | null
}

interface Vectors {
  readonly vectors: ReadonlyArray<{
    readonly name: string
    readonly server: string
    readonly client: string
    readonly request: Sent
    readonly reply: Sent | null
  }>
  readonly wire: ReadonlyArray<{
    readonly active: string
    readonly passive: string
    readonly connections: ReadonlyArray<{ readonly request: Sent; readonly reply: Sent }>
  }>
  /** What it replied when its device refused a GID: the first one, all, or the one it was given. */
  readonly refusedGids: ReadonlyArray<{ readonly name: string; readonly reply: string }>
}

export const { refusedGids, vectors, wire }: Vectors = JSON.parse(
  readFileSync(new URL("../../vectors/mooncake-handshake.json", import.meta.url), "utf8")
)

export interface Vector {
  readonly name: string
  readonly side: "c2s" | "s2c"
  /** Otherwise a script wrote it. */
  readonly byMooncake: boolean
  readonly sent: Sent
}

const pair = (
  name: string,
  request: Sent,
  reply: Sent | null,
  byMooncake: readonly [boolean, boolean]
): ReadonlyArray<Vector> => [
  { name: `${name} request`, side: "c2s", byMooncake: byMooncake[0], sent: request },
  ...(reply === null
    ? []
    : ([{ name: `${name} reply`, side: "s2c", byMooncake: byMooncake[1], sent: reply }] as const))
]

const isMooncake = (who: string): boolean => who.startsWith("mooncake")

/** Every frame that was sent, its reply behind it. */
export const sent: ReadonlyArray<Vector> = [
  ...vectors.flatMap(({ client, name, reply, request, server }) =>
    pair(name, request, reply, [isMooncake(client), isMooncake(server)])
  ),
  ...wire.flatMap(({ active, connections, passive }) =>
    connections.flatMap(({ reply, request }, k) =>
      pair(`${active} to ${passive} ${k}`, request, reply, [true, true])
    )
  )
]

export const vector = (name: string): Vector => {
  const found = sent.find((vector) => vector.name === name)
  if (found === undefined) throw new Error(`there is no vector ${name}`)
  return found
}

/** What one piece of bytes makes of a fresh reader. */
export const readerOf = (bytes: Uint8Array, limit?: number): FrameReader => {
  const reader = new FrameReader(limit)
  reader.push(bytes)
  return reader
}

export const frameOf = (vector: Vector): Frame => {
  const { frame } = readerOf(bytesOfHex(vector.sent.hex))
  if (frame === undefined) throw new Error(`${vector.name} is no frame`)
  return frame
}

/** The vectors that hold a whole frame of a type that Mooncake knows. */
export const whole = sent.filter(({ sent }) => readerOf(bytesOfHex(sent.hex)).frame !== undefined)

export const success = <A, E>(result: Result.Result<A, E>): A =>
  Result.getOrThrowWith(result, (fault) => new Error(JSON.stringify(fault)))

export const failure = <A, E>(result: Result.Result<A, E>): E =>
  Result.getOrThrowWith(Result.flip(result), (value) => new Error(JSON.stringify(value)))

/** Half a surrogate pair is no text of any peer; it is written as what stands for such. */
export const wellFormed = <A>(value: A): A => formed(value) as A

const formed = (value: unknown): unknown => {
  if (typeof value === "string") return value.toWellFormed()
  if (Array.isArray(value)) return value.map(formed)
  if (typeof value !== "object" || value === null) return value
  const members = Object.entries(value).map(([key, member]) => [key.toWellFormed(), formed(member)])
  return Object.fromEntries(members)
}
