/** Verifies rows of events one by one, and collects them as columns for the message. */
import { checksumNumbers, checksumText } from "./checksum.ts"
import { corruptRecord } from "./failures.ts"
import type { NameTable } from "./nameTable.ts"
import type { EventBatch } from "./protocol.ts"

/** The columns of a row, in the order of the table. */
export type Row = ReadonlyArray<number | string | null>

export const corruptEvent = (actor: string, seq: unknown, detail: string) =>
  corruptRecord("event", actor, seq, detail)

/** The checksum of an event, which covers its place and its actor. */
export const eventSum = (
  actorSum: number,
  offset: number,
  seq: number,
  typeSum: number,
  version: number,
  at: number,
  body: string,
  tags: string | null
) => {
  const sum = checksumText(body, checksumNumbers(actorSum, offset, seq, typeSum, version, at))
  return tags === null ? sum : checksumText(tags, sum)
}

/** Collects verified rows as columns for the message. */
export class BatchBuilder {
  readonly actors: Array<string> = []
  bytes = 0
  readonly #names: NameTable
  readonly #upTo: number
  readonly #types: Array<string> = []
  readonly #sums: Array<number> = []
  readonly #typeIndex = new Map<number, number>()
  readonly #events: Array<number> = []
  readonly #bodies: Array<string> = []
  readonly #tags: Array<readonly [number, string]> = []

  constructor(names: NameTable, upTo: number) {
    this.#names = names
    this.#upTo = upTo
  }

  add(row: Row, name: string, actorSum: number) {
    const [offset, , seq, typeId, version, at, body, tags, sum] = row as readonly [
      number,
      number,
      number,
      number,
      number,
      number,
      string,
      string | null,
      number
    ]
    const type = this.#typeOf(typeId)
    if (
      type === undefined ||
      typeof body !== "string" ||
      (tags !== null && typeof tags !== "string") ||
      eventSum(actorSum, offset, seq, this.#sums[type]!, version, at, body, tags) !== sum
    ) {
      throw corruptEvent(name, seq, "wrong checksum")
    }
    if (tags !== null) this.#tags.push([this.#bodies.length, tags])
    this.#events.push(offset, seq, type, version, at)
    this.#bodies.push(body)
    this.bytes += body.length
  }

  done(): EventBatch {
    return {
      upTo: this.#upTo,
      types: this.#types,
      actors: this.actors,
      events: Float64Array.from(this.#events),
      bodies: this.#bodies,
      tags: this.#tags
    }
  }

  #typeOf(id: number): number | undefined {
    const known = this.#typeIndex.get(id)
    if (known !== undefined) return known
    const name = this.#names.nameOf(id)
    if (name === undefined) return undefined
    this.#typeIndex.set(id, this.#types.length)
    this.#sums.push(checksumText(name))
    return this.#types.push(name) - 1
  }
}
