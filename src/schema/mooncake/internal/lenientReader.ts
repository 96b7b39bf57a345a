/** Reads one value at the beginning of a text; `json.ts` says what it takes beyond JSON. */
import type { Json } from "./json.ts"

const blank = /[ \t\r\n]*/y
const line = /[^\r\n]*/y
const number = /-?\d+(\.\d+)?([eE][+-]?\d+)?/y
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
  /** Where reading stopped. */
  at = 0
  /** What should have stood there. */
  expected = ""
  readonly #text: string
  readonly #depthLimit: number
  readonly #exactDigits: number

  constructor(text: string, depthLimit: number, exactDigits: number) {
    this.#text = text
    this.#depthLimit = depthLimit
    this.#exactDigits = exactDigits
  }

  /** The value, or nothing. */
  read(): Json | undefined {
    if (this.#text.startsWith("\ufeff")) this.at = 1
    return this.#value(0)
  }

  #fail(expected: string): undefined {
    this.expected = expected
    return undefined
  }

  /** The text that a pattern matches here, which is taken. */
  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at
    const match = pattern.exec(this.#text)
    if (match !== null) this.at = pattern.lastIndex
    return match
  }

  /** A comment without an end is left, where nothing expects it. */
  #skipBlanks(): void {
    for (;;) {
      this.#match(blank)
      if (this.#text.startsWith("//", this.at)) {
        this.#match(line)
        continue
      }
      const end = this.#text.startsWith("/*", this.at) ? this.#text.indexOf("*/", this.at + 2) : -1
      if (end === -1) return
      this.at = end + 2
    }
  }

  /** Takes a character if it is the next one behind blanks and comments. */
  #takes(character: string): boolean {
    this.#skipBlanks()
    if (this.#text[this.at] !== character) return false
    this.at++
    return true
  }

  #value(depth: number): Json | undefined {
    if (depth > this.#depthLimit) return this.#fail(`at most ${this.#depthLimit} levels`)
    if (this.#takes("{")) return this.#object(depth)
    if (this.#takes("[")) return this.#array(depth)
    if (this.#takes('"')) return this.#string()
    for (const [word, value] of words) {
      if (!this.#text.startsWith(word, this.at)) continue
      this.at += word.length
      return value
    }
    return this.#number()
  }

  #object(depth: number): Json | undefined {
    const members: Record<string, Json> = Object.create(null)
    while (!this.#takes("}")) {
      if (!this.#takes('"')) return this.#fail("a key")
      const key = this.#string()
      if (key === undefined) return undefined
      if (!this.#takes(":")) return this.#fail("a colon")
      const value = this.#value(depth + 1)
      if (value === undefined) return undefined
      members[key] = value
      if (this.#takes(",")) continue
      return this.#takes("}") ? members : this.#fail("a comma or the end of an object")
    }
    return members
  }

  #array(depth: number): Json | undefined {
    const values: Array<Json> = []
    while (!this.#takes("]")) {
      const value = this.#value(depth + 1)
      if (value === undefined) return undefined
      values.push(value)
      if (this.#takes(",")) continue
      return this.#takes("]") ? values : this.#fail("a comma or the end of an array")
    }
    return values
  }

  /** What follows an opening quote, with the closing one. */
  #string(): string | undefined {
    const start = this.at
    for (;;) {
      this.#match(text)
      if (this.#text[this.at] === '"') break
      if (this.#match(escape) === null) return this.#fail("an escape or the end of a string")
    }
    const raw = this.#text.slice(start, this.at++)
    return raw.includes("\\") ? raw.replaceAll(escapes, unescaped) : raw
  }

  #number(): number | bigint | undefined {
    const [digits, fraction, exponent] = this.#match(number) ?? []
    if (digits === undefined) return this.#fail("a value")
    const isInteger = fraction === undefined && exponent === undefined
    const exact = !isInteger || digits.length <= this.#exactDigits || digits.length > longestInteger
    return exact ? Number(digits) : BigInt(digits)
  }
}

const unescaped = (_escape: string, code: string | undefined, letter: string): string =>
  code === undefined ? (letters[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16))
