/** Reads one value at the beginning of a text; `json.ts` lists its extensions of JSON. */
export type Json = null | boolean | number | bigint | string | JsonArray | JsonObject
export type JsonArray = ReadonlyArray<Json>
export interface JsonObject {
  readonly [key: string]: Json
}

const Sign = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  openArray: 0x5b,
  closeArray: 0x5d,
  openObject: 0x7b,
  closeObject: 0x7d
} as const

const line = /[^\r\n]*/y
const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const integer = /^-?\d+$/
const text = /[^"\\]*/y
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y
const escapes = /\\(?:u(.{4})|(.))/g
const letters: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }

/** The digits of the largest unsigned integer of 64 bits. */
const longestInteger = 20

const words = [
  ["true", true],
  ["false", false],
  ["null", null]
] as const

export class LenientReader {
  /** The index at which reading stopped. */
  at = 0
  /** The token that was expected there. */
  expected = ""
  readonly #text: string
  readonly #depthLimit: number
  readonly #exactDigits: number

  constructor(text: string, depthLimit: number, exactDigits: number) {
    this.#text = text
    this.#depthLimit = depthLimit
    this.#exactDigits = exactDigits
  }

  /** The value; undefined if there is none. */
  read(): Json | undefined {
    if (this.#text.startsWith("\ufeff")) this.at = 1
    return this.#value(0)
  }

  #fail(expected: string): undefined {
    this.expected = expected
    return undefined
  }

  /** Consumes the match of a pattern here. */
  #matches(pattern: RegExp): boolean {
    pattern.lastIndex = this.at
    const matches = pattern.test(this.#text)
    if (matches) this.at = pattern.lastIndex
    return matches
  }

  #skipBlanks(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.at)
      if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) this.at++
      else if (code !== 0x2f || !this.#skipComment()) return
    }
  }

  /** A comment without an end is not skipped, so that it is found as an error. */
  #skipComment(): boolean {
    if (this.#text.startsWith("//", this.at)) return this.#matches(line)
    const end = this.#text.startsWith("/*", this.at) ? this.#text.indexOf("*/", this.at + 2) : -1
    if (end !== -1) this.at = end + 2
    return end !== -1
  }

  /** Consumes a character if it is the next one after blanks and comments. */
  #takes(code: number): boolean {
    this.#skipBlanks()
    if (this.#text.charCodeAt(this.at) !== code) return false
    this.at++
    return true
  }

  #value(depth: number): Json | undefined {
    if (depth > this.#depthLimit) return this.#fail(`at most ${this.#depthLimit} levels`)
    if (this.#takes(Sign.openObject)) return this.#object(depth)
    if (this.#takes(Sign.openArray)) return this.#array(depth)
    if (this.#takes(Sign.quote)) return this.#string()
    const start = this.at
    if (this.#matches(number)) return this.#numberIn(this.#text.slice(start, this.at))
    const word = words.find(([word]) => this.#text.startsWith(word, this.at))
    if (word === undefined) return this.#fail("a value")
    this.at += word[0].length
    return word[1]
  }

  #object(depth: number): Json | undefined {
    const members: Record<string, Json> = Object.create(null)
    while (!this.#takes(Sign.closeObject)) {
      if (!this.#takes(Sign.quote)) return this.#fail("a key")
      const key = this.#string()
      if (key === undefined) return undefined
      if (!this.#takes(Sign.colon)) return this.#fail("a colon")
      const value = this.#value(depth + 1)
      if (value === undefined) return undefined
      members[key] = value
      if (this.#takes(Sign.comma)) continue
      return this.#takes(Sign.closeObject) ? members : this.#fail("a comma or the end of an object")
    }
    return members
  }

  #array(depth: number): Json | undefined {
    const values: Array<Json> = []
    while (!this.#takes(Sign.closeArray)) {
      const value = this.#value(depth + 1)
      if (value === undefined) return undefined
      values.push(value)
      if (this.#takes(Sign.comma)) continue
      return this.#takes(Sign.closeArray) ? values : this.#fail("a comma or the end of an array")
    }
    return values
  }

  /** The rest of a string after its opening quote, with the closing one. */
  #string(): string | undefined {
    const start = this.at
    for (;;) {
      this.#matches(text)
      if (this.#text[this.at] === '"') break
      if (!this.#matches(escape)) return this.#fail("an escape or the end of a string")
    }
    const raw = this.#text.slice(start, this.at++)
    return raw.includes("\\") ? raw.replaceAll(escapes, unescaped) : raw
  }

  #numberIn(digits: string): number | bigint {
    const isExact = digits.length <= this.#exactDigits || digits.length > longestInteger
    return isExact || !integer.test(digits) ? Number(digits) : BigInt(digits)
  }
}

const unescaped = (_escape: string, code: string | undefined, letter: string): string =>
  code === undefined ? (letters[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16))
