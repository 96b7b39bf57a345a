/**
 * Lookup tables for CRC-32C (the Castagnoli polynomial, bits reflected).
 *
 * Table `k` (256 words from `k * 256`) advances a byte past `k` further bytes, so one step of
 * the slicing loop folds as many bytes as there are tables.
 */
const polynomial = 0x82f63b78

/** The number of tables: the WebAssembly kernel slices by 16, plain JavaScript by 8. */
export const tableCount = 16

export const tables: Int32Array = buildTables()

function buildTables(): Int32Array {
  const words = new Int32Array(tableCount * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
    words[byte] = crc
  }
  for (let at = 256; at < words.length; at++) {
    const before = words[at - 256]!
    words[at] = words[before & 255]! ^ (before >>> 8)
  }
  return words
}

/** Advances a CRC over `bytes[from, to)` without WebAssembly; both ends are un-inverted. */
export const updateByTable = (crc: number, bytes: Uint8Array, from: number, to: number): number => {
  const t = tables
  let c = ~crc
  let i = from
  for (const end = to - 7; i < end; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    c =
      t[1792 | (c & 255)]! ^
      t[1536 | ((c >>> 8) & 255)]! ^
      t[1280 | ((c >>> 16) & 255)]! ^
      t[1024 | (c >>> 24)]! ^
      t[768 | bytes[i + 4]!]! ^
      t[512 | bytes[i + 5]!]! ^
      t[256 | bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!
  }
  for (; i < to; i++) c = t[(c ^ bytes[i]!) & 255]! ^ (c >>> 8)
  return ~c >>> 0
}
