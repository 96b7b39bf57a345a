/**
 * Assembles the WebAssembly module behind `Crc32c`. It exports one function,
 * `crc(ptr, length, state)`, which returns the new state.
 *
 * **Folding without carry-less multiplication.** CRC-32C has multiples with very few terms whose
 * exponents are whole bytes. For such a multiple, a byte can be removed from the front of a
 * message by XORing it into a handful of later positions, and the rest keeps the same CRC. Sixteen
 * bytes at a time this is a few unaligned loads and XORs, no table and no multiplication:
 *
 *     r[i] = m[i] ^ r[i - d1] ^ r[i - d2] ^ ...
 *
 * with `r` zero before the start. What remains is a tail as long as the largest distance; a
 * multiple with a smaller reach folds that again, and the last few hundred bytes go through
 * sliced tables. Squaring a multiple scales its distances, which keeps the loads of one step far
 * from the stores of the step before.
 */
import { tableCount } from "./crc32cTables.ts"

/** The most bytes that one call of the kernel may be given. */
export const blockBytes = 65536

const near = [65, 155, 170, 195, 209]
const middle = near.map((distance) => distance * 4)
const far = [767, 2524, 5275]

// Below these lengths the next smaller method is quicker (measured).
const nearFrom = 512
const middleFrom = 1200
const farFrom = 16384

/** Layout of the module's memory. Each history is preceded by zeros that are never written. */
const tablesAt = 0
const tablesEnd = tablesAt + tableCount * 1024
const historyBytes = 8192 + blockBytes + 128
const historyAt = tablesEnd + 8192
const tailsAt = historyAt + historyBytes
const tailBytes = 8192
const middleHistoryAt = tailsAt + 3 * tailBytes + 8192
const nearHistoryAt = middleHistoryAt + blockBytes + 8192

/**
 * The first offset for callers' bytes: input blocks and staging. The module uses none behind it.
 */
export const freeAt = nearHistoryAt + 8192

type Code = ReadonlyArray<number | Code>

const unsigned = (value: number): Array<number> => {
  const bytes: Array<number> = []
  let rest = value
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0))
    rest >>>= 7
  } while (rest !== 0)
  return bytes
}

const signed = (value: number): Array<number> => {
  const bytes: Array<number> = []
  for (let rest = value; ;) {
    const byte = rest & 127
    rest >>= 7
    if ((rest === 0 && byte < 64) || (rest === -1 && byte >= 64)) return [...bytes, byte]
    bytes.push(byte | 128)
  }
}

const flat = (code: Code): Array<number> =>
  code.flatMap((part) => (typeof part === "number" ? [part] : flat(part)))
const sized = (bytes: Array<number>): Array<number> => [...unsigned(bytes.length), ...bytes]
const vector = (items: ReadonlyArray<Code>): Array<number> => [
  ...unsigned(items.length),
  ...flat(items)
]
const section = (id: number, items: ReadonlyArray<Code>): Array<number> => [
  id,
  ...sized(vector(items))
]
const name = (text: string): Array<number> => sized([...text].map((c) => c.charCodeAt(0)))

const i32 = 0x7f
const get = (local: number): Code => [0x20, local]
const set = (local: number): Code => [0x21, local]
const constant = (value: number): Code => [0x41, signed(value)]
const add: Code = [0x6a]
const subtract: Code = [0x6b]
const and: Code = [0x71]
const xor: Code = [0x73]
const shiftLeft: Code = [0x74]
const shiftRight: Code = [0x76]
const isZero: Code = [0x45]
const below: Code = [0x49]
const notBelow: Code = [0x4f]
const load = (offset: number): Code => [0x28, 0, unsigned(offset)]
const loadByte: Code = [0x2d, 0, 0]
const vectorLoad = (offset: number): Code => [0xfd, 0, 0, unsigned(offset)]
const vectorStore = (offset: number): Code => [0xfd, 11, 0, unsigned(offset)]
const vectorXor: Code = [0xfd, 0x51]
const vectorZero: Code = [0xfd, 12, Array.from({ length: 16 }, () => 0)]
const replaceLane0: Code = [0xfd, 28, 0]
const fill: Code = [0xfc, 11, 0]
const call = (index: number): Code => [0x10, index]
const advance = (local: number, by: number): Code => [get(local), constant(by), add, set(local)]
/** Runs `body` until `done` leaves something other than zero. */
const until = (done: Code, body: Code): Code => [
  [0x02, 0x40, 0x03, 0x40],
  done,
  [0x0d, 1],
  body,
  [0x0c, 0, 0x0b, 0x0b]
]
const when = (condition: Code, body: Code): Code => [condition, [0x04, 0x40], body, [0x0b]]

/** Every function takes (ptr, length, state), returns an i32 and may have i32 locals. */
interface Kernel {
  readonly locals: number
  readonly body: Code
}
const ptr = 0
const length = 1
const state = 2

/** The CRC state after a run of bytes, sixteen at a time through sliced tables. */
const sliced = (): Kernel => {
  const word = 3
  const lookUp = (local: number, shift: number, table: number): Code => [
    get(local),
    shift > 0 ? [constant(shift), shiftRight] : [],
    [constant(255), and, constant(2), shiftLeft, load(tablesAt + table * 1024)]
  ]
  const bytesOf = (local: number, table: number): Code => [
    [lookUp(local, 0, table), lookUp(local, 8, table - 1), xor],
    [lookUp(local, 16, table - 2), xor, lookUp(local, 24, table - 3), xor]
  ]
  const sixteen: Code = [
    [get(ptr), load(0), get(state), xor, set(word)],
    [1, 2, 3].map((k) => [get(ptr), load(4 * k), set(word + k)]),
    bytesOf(word, 15),
    [1, 2, 3].map((k) => [bytesOf(word + k, 15 - 4 * k), xor]),
    [set(state), advance(ptr, 16), advance(length, -16)]
  ]
  const one: Code = [
    [get(state), get(ptr), loadByte, xor, constant(255), and, constant(2), shiftLeft],
    [load(tablesAt), get(state), constant(8), shiftRight, xor, set(state)],
    [advance(ptr, 1), advance(length, -1)]
  ]
  return {
    locals: 4,
    body: [
      until([get(length), constant(16), below], sixteen),
      until([get(length), isZero], one),
      get(state)
    ]
  }
}

/** Folds a run into a tail at `tailAt` that has the same CRC from state 0; returns its length. */
const fold = (distances: ReadonlyArray<number>, history: number, tailAt: number): Kernel => {
  const [eliminated, at, end, tail] = [3, 4, 5, 6]
  const reach = Math.max(...distances)
  const step = 64
  // `at` is `reach` bytes before the position in the history, so that offsets are not negative.
  const folded = (offset: number): Code => [
    [get(ptr), vectorLoad(offset)],
    distances.map((d) => [get(at), vectorLoad(reach - d + offset), vectorXor])
  ]
  const store = (value: Code, offset: number): Code => [get(at), value, vectorStore(reach + offset)]
  const next = (bytes: number): Code => [advance(ptr, bytes), advance(at, bytes)]
  const withState: Code = [
    [get(ptr), vectorLoad(0), vectorZero, get(state), replaceLane0, vectorXor]
  ]
  return {
    locals: 4,
    body: [
      [get(length), constant(reach), subtract, constant(-step), and, set(eliminated)],
      [constant(history - reach), set(at)],
      [store(withState, 0), [16, 32, 48].map((k) => store(folded(k), k)), next(step)],
      [constant(history - reach), get(eliminated), add, set(end)],
      until(
        [get(at), get(end), notBelow],
        [[0, 16, 32, 48].map((k) => store(folded(k), k)), next(step)]
      ),
      [get(length), get(eliminated), subtract, set(tail)],
      [get(at), constant(reach), add, constant(0), get(tail), constant(16), add, fill],
      [constant(tailAt), set(end)],
      until(
        [get(end), constant(tailAt), get(tail), add, notBelow],
        [[get(end), folded(0), vectorStore(0)], next(16), advance(end, 16)]
      ),
      get(tail)
    ]
  }
}

/** The whole chain: each method leaves a shorter run for the next. */
const chain = (): Kernel => {
  const shorten = (from: number, method: number, tailAt: number): Code =>
    when(
      [get(length), constant(from), notBelow],
      [
        [get(ptr), get(length), get(state), call(method), set(length)],
        [constant(tailAt), set(ptr), constant(0), set(state)]
      ]
    )
  return {
    locals: 0,
    body: [
      shorten(farFrom, 1, tailsAt),
      shorten(middleFrom, 2, tailsAt + tailBytes),
      shorten(nearFrom, 3, tailsAt + 2 * tailBytes),
      [get(ptr), get(length), get(state), call(0)]
    ]
  }
}

/** The module's bytes. It imports its memory as `e.m` and exports `crc`. */
export const moduleBytes = (): Uint8Array<ArrayBuffer> => {
  const kernels = [
    sliced(),
    fold(far, historyAt, tailsAt),
    fold(middle, middleHistoryAt, tailsAt + tailBytes),
    fold(near, nearHistoryAt, tailsAt + 2 * tailBytes),
    chain()
  ]
  const bodies = kernels.map(({ body, locals }) =>
    sized([...(locals > 0 ? [1, locals, i32] : [0]), ...flat(body), 0x0b])
  )
  const signature: Code = [0x60, 3, i32, i32, i32, 1, i32]
  const preamble = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  return Uint8Array.from([
    ...preamble,
    ...section(1, [signature]),
    ...section(2, [[name("e"), name("m"), 2, 0, 1]]),
    ...section(
      3,
      kernels.map(() => [0])
    ),
    ...section(7, [[name("crc"), 0, kernels.length - 1]]),
    ...section(10, bodies)
  ])
}
