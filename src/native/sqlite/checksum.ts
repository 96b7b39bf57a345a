/**
 * The CRC-32 of a record, over every field: a byte that the disk or a tool changed is found when
 * the record is read. The numbers are summed here, four bytes a step, because a call into
 * `node:zlib` costs more than the work itself; texts are long enough for the call.
 */
import { crc32 } from "node:zlib"

const tables = Array.from({ length: 4 }, () => new Uint32Array(256))
const [byte0, byte1, byte2, byte3] = tables as [Uint32Array, Uint32Array, Uint32Array, Uint32Array]
for (let index = 0; index < 256; index++) {
  let sum = index
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? 0xedb88320 ^ (sum >>> 1) : sum >>> 1
  byte0[index] = sum >>> 0
}
for (let index = 0; index < 256; index++) {
  for (let step = 1; step < 4; step++) {
    const before = tables[step - 1]![index]!
    tables[step]![index] = (before >>> 8) ^ byte0[before & 255]!
  }
}

const numbers = new Float64Array(5)
const words = new Uint32Array(numbers.buffer)

/** The sum of a text, continuing another sum. */
export const checksumText = (text: string, sum = 0): number => crc32(text, sum)

/** The sum of up to five numbers, continuing another sum. */
export const checksumNumbers = (
  sum: number,
  first: number,
  second = 0,
  third = 0,
  fourth = 0,
  fifth = 0
): number => {
  // SQLite stores -0 as 0, whose bits differ.
  numbers[0] = first + 0
  numbers[1] = second + 0
  numbers[2] = third + 0
  numbers[3] = fourth + 0
  numbers[4] = fifth + 0
  let state = ~sum
  for (let index = 0; index < 10; index++) {
    state ^= words[index]!
    state =
      byte3[state & 255]! ^
      byte2[(state >>> 8) & 255]! ^
      byte1[(state >>> 16) & 255]! ^
      byte0[state >>> 24]!
  }
  return ~state >>> 0
}
