/**
 * Cuts operations into slices. Pure.
 *
 * Slices are of equal size, so that many rails to a peer can share one operation. A short rest
 * joins the slice before it, and no slice crosses a border of registered memory on either side.
 */

import { instanceOf } from "../../../schema/Epoch.ts"
import type { Description, PeerBuffer, PeerRight } from "../../rdma/Directory.ts"
import type { Target } from "../Transfer.ts"

/** A rest of up to this share of a slice joins the slice before it. */
const joinedShare = 1 / 4

/** The size of slices of which none, with a rest, exceeds the size of a message. */
export const fitting = (sliceBytes: number, messageBytes: number): number =>
  Math.min(sliceBytes, Math.floor(messageBytes / (1 + joinedShare)))

/**
 * The length of the next slice. Both memories go on for `run` bytes without a border, which is
 * never more than what is left.
 */
export const nextLength = (run: number, sliceBytes: number): number =>
  run <= sliceBytes + Math.floor(sliceBytes * joinedShare) ? run : sliceBytes

/** A described buffer. */
export interface Buffer extends PeerBuffer {
  /**
   * Identifies the memory that exists now: bytes moved to one incarnation are in no other one. It
   * is the epoch of its registration, or else all that is known of it: its process, address, length
   * and keys.
   */
  readonly incarnation: string
}

/** A position in a peer's memory; one object is used for many lookups. */
export class BufferCursor {
  buffer: Buffer | undefined = undefined
  /** Offset from the start of the buffer. */
  at = 0
  /** Bytes from there to its end. */
  run = 0
}

/** Index of a peer's described memory. */
export class PeerMemory {
  readonly description: Description
  /**
   * The peer's process: its instance if the description names it, or else the one whose connections
   * were known at the request.
   */
  readonly process: string
  /** Whether all NICs are equally near to all of it. */
  readonly isEven: boolean
  readonly #buffers: ReadonlyArray<Buffer>
  /** By name; undefined for a name that several buffers have. */
  readonly #byName = new Map<string, Buffer | undefined>()
  /** Parts of memory that is registered in parts, by the name of the whole. */
  readonly #parts = new Map<string, Array<Buffer>>()
  readonly #incarnations: ReadonlySet<string>

  constructor(description: Description, process = "") {
    const { buffers, epoch } = description
    this.description = description
    this.process = epoch === undefined ? process : instanceOf(epoch)
    this.isEven = buffers.every(({ distances }) => distances === undefined)
    this.#buffers = buffers.map((buffer) =>
      Object.assign({}, buffer, { incarnation: incarnationOf(this.process, buffer) })
    )
    this.#incarnations = new Set(this.#buffers.map(({ incarnation }) => incarnation))
    for (const buffer of this.#buffers) {
      const isUnique = !this.#byName.has(buffer.name)
      this.#byName.set(buffer.name, isUnique ? buffer : undefined)
      const [, whole, part] = /^(.*)#(\d+)$/s.exec(buffer.name) ?? []
      if (whole === undefined) continue
      const parts = this.#parts.get(whole) ?? []
      if (Number(part) === parts.length && follows(buffer, parts.at(-1))) parts.push(buffer)
      this.#parts.set(whole, parts)
    }
  }

  /** Whether an incarnation is still described. */
  has(incarnation: string): boolean {
    return this.#incarnations.has(incarnation)
  }

  /**
   * Finds the position `at` bytes after the start of a target. `found` may hold an earlier position
   * of this memory, most likely in the same buffer. Returns what is wrong if there is none.
   */
  find(target: Target, at: number, found: BufferCursor): string | undefined {
    if ("address" in target) return this.#byAddress(target.address + at, found)
    const buffer = this.#byName.get(target.buffer)
    if (buffer === undefined) {
      const parts = this.#parts.get(target.buffer)
      // A single one is no part of a longer buffer: its owner has chosen that name.
      if (parts !== undefined && parts.length > 1) return this.#byPart(parts, target, at, found)
      const known = this.#byName.has(target.buffer)
      return known ? `several buffers are named ${target.buffer}` : `no buffer ${target.buffer}`
    }
    const place = (target.offset ?? 0) + at
    if (place >= buffer.length) return `${target.buffer} has only ${buffer.length} bytes`
    return this.#take(buffer, place, found)
  }

  /** Searches the parts of a buffer, which follow each other. */
  #byPart(
    parts: ReadonlyArray<Buffer>,
    { buffer, offset = 0 }: { readonly buffer: string; readonly offset?: number },
    at: number,
    found: BufferCursor
  ): string | undefined {
    let first = 0
    for (const part of parts) {
      const place = offset + at - first
      if (place < part.length) return this.#take(part, place, found)
      first += part.length
    }
    return `${buffer} has only ${first} bytes`
  }

  /** Finds the buffer that reaches furthest: memory may be registered several times. */
  #byAddress(address: number, found: BufferCursor): string | undefined {
    const holds = ({ address: first, length }: PeerBuffer) =>
      first <= address && address < first + length
    let best = found.buffer
    if (best === undefined || !holds(best)) {
      best = undefined
      for (const buffer of this.#buffers) {
        if (buffer.keys.length === 0 || !holds(buffer)) continue
        if (best === undefined || endOf(buffer) > endOf(best)) best = buffer
      }
    }
    if (best === undefined) return `no buffer holds the address ${address}`
    return this.#take(best, address - best.address, found)
  }

  #take(buffer: Buffer, at: number, found: BufferCursor): string | undefined {
    if (buffer.keys.length === 0) return `the buffer ${buffer.name} is not shared`
    found.buffer = buffer
    found.at = at
    found.run = buffer.length - at
    return undefined
  }
}

const incarnationOf = (process: string, buffer: PeerBuffer): string =>
  buffer.epoch ?? `${process} ${buffer.address} ${buffer.length} ${buffer.keys.join()}`

/** Whether memory is the next part of the same registration. */
const follows = (buffer: PeerBuffer, last: PeerBuffer | undefined): boolean =>
  last === undefined || (buffer.address === endOf(last) && buffer.epoch === last.epoch)

const endOf = ({ address, length }: PeerBuffer): number => address + length

/** A fault of a range of a peer's memory: it is not there, or not for that. */
export interface RangeFault {
  readonly isMissing: boolean
  readonly detail: string
}

/** The first fault of `length` bytes of a target, if there is one. */
export const faultOfRange = (
  memory: PeerMemory,
  target: Target,
  length: number,
  right: PeerRight
): RangeFault | undefined => {
  const found = new BufferCursor()
  for (let at = 0; at < length; at += found.run) {
    const missing = memory.find(target, at, found)
    if (missing !== undefined) return { isMissing: true, detail: missing }
    const { access, name } = found.buffer!
    // A peer of another kind does not tell its rights: its NIC refuses.
    if (access !== undefined && !access.includes(right)) {
      return { isMissing: false, detail: `the peer's buffer ${name} is not for ${right}` }
    }
  }
  return undefined
}

/**
 * A piece of an operation. Slices are pooled: a transfer of any size makes few of them.
 *
 * A slice has one owner at a time: its job while it waits, then the work that carries it, which
 * returns it at its end.
 */
export class Slice {
  /** Index of the operation in its job. */
  operation = 0
  /** Offset from the start of the operation. */
  at = 0
  length = 0
  /** Number of times that it was posted and failed. */
  attempts = 0
  /** The description in which its remote place was found. */
  peerMemory: PeerMemory | undefined = undefined
  /** Its remote position at the post. */
  readonly found = new BufferCursor()
  /** The next one in the same list. */
  next: Slice | undefined = undefined
}

/** Free slices. There are never more than were posted or failed at one time. */
export class SlicePool {
  #free: Slice | undefined = undefined

  acquire(): Slice {
    const slice = this.#free ?? new Slice()
    this.#free = slice.next
    slice.next = undefined
    return slice
  }

  release(slice: Slice): void {
    slice.attempts = 0
    slice.peerMemory = undefined
    slice.found.buffer = undefined
    slice.next = this.#free
    this.#free = slice
  }
}
