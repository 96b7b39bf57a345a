/** Sets of hash slots, as the bus carries them: a bitmap of 2,048 bytes, lowest bit first. */

import { slotBytes } from "./Layout.ts"

/** Hash slots of a cluster. */
export const slotCount = 8 * slotBytes

/** First and last slot of a run. */
export type SlotRange = readonly [first: number, last: number]

const crcPolynomial = 0x1021

/** CRC-16/XMODEM, bit by bit: keys and channels are short. */
const crc16 = (bytes: Uint8Array): number => {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ crcPolynomial
    }
    crc &= 0xffff
  }
  return crc
}

const [openingBrace, closingBrace] = [0x7b, 0x7d]

/** The slot of a key, or of a channel of a shard: that of its part in braces if there is one. */
export const slotOf = (key: Uint8Array): number => {
  const from = key.indexOf(openingBrace) + 1
  const to = from === 0 ? -1 : key.indexOf(closingBrace, from)
  return crc16(to > from ? key.subarray(from, to) : key) % slotCount
}

/** Whether a slot is in the set. */
export const hasSlot = (slots: Uint8Array, slot: number): boolean =>
  ((slots[slot >> 3] ?? 0) & (1 << (slot & 7))) !== 0

/** The slots of the set as ranges, in order. */
export const slotRanges = (slots: Uint8Array): ReadonlyArray<SlotRange> => {
  const ranges: Array<SlotRange> = []
  let first = -1
  for (let slot = 0; slot <= slotCount; slot++) {
    // Most bytes are all of one kind.
    if ((slot & 7) === 0 && slots[slot >> 3] === (first < 0 ? 0 : 0xff)) {
      slot += 7
      continue
    }
    const has = slot < slotCount && hasSlot(slots, slot)
    if (has && first < 0) first = slot
    if (has || first < 0) continue
    ranges.push([first, slot - 1])
    first = -1
  }
  return ranges
}

/** The set of all slots in ranges. */
export const slotsOf = (ranges: ReadonlyArray<SlotRange>): Uint8Array => {
  const slots = new Uint8Array(slotBytes)
  for (const [first, last] of ranges) {
    for (let slot = first; slot <= last; slot++) slots[slot >> 3]! |= 1 << (slot & 7)
  }
  return slots
}
