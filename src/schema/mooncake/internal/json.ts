/**
 * JSON as Mooncake reads and writes it.
 *
 * Its reader accepts more than JSON: comments, a byte order mark, a comma before the end of an
 * array or object, control characters in strings, and any text after the value. Its writer sorts
 * keys and escapes all characters outside of ASCII. Integers may have 64 bits.
 */
import * as Result from "effect/Result"
import { BadJson } from "../Fault.ts"
import { type Json, type JsonObject, LenientReader } from "./lenientReader.ts"

export type { Json, JsonObject } from "./lenientReader.ts"

/** Depth limit of values. Mooncake's texts are five deep; it refuses a thousand itself. */
const depthLimit = 64

/** Integers of more digits may be beyond what a number can hold. */
const exactDigits = 15

/** The index of the quote that ends the string which begins here. */
const endOfString = (text: string, start: number): number => {
  let at = start + 1
  for (let code = text.charCodeAt(at); code !== 0x22 && at < text.length;) {
    at += code === 0x5c ? 2 : 1
    code = text.charCodeAt(at)
  }
  return at
}

/** Whether `JSON.parse` reads a text correctly: without rounding, and with bounded depth. */
const isPlain = (text: string): boolean => {
  let depth = 0
  let digits = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    digits = code >= 0x30 && code <= 0x39 ? digits + 1 : 0
    if (digits > exactDigits) return false
    if (code === 0x22) at = endOfString(text, at)
    else if (code === 0x7b || code === 0x5b) depth++
    else if (code === 0x7d || code === 0x5d) depth--
    if (depth > depthLimit) return false
  }
  return true
}

/** Parses the common case with the engine; the lenient reader takes the rest. */
const parsePlain = (text: string): Json | undefined => {
  if (!isPlain(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** All keys become own properties of the result, also `__proto__`. */
export const parse = (text: string): Result.Result<Json, BadJson> => {
  const plain = parsePlain(text)
  if (plain !== undefined) return Result.succeed(plain)
  const reader = new LenientReader(text, depthLimit, exactDigits)
  const value = reader.read()
  if (value !== undefined) return Result.succeed(value)
  return Result.fail(new BadJson({ at: reader.at, expected: reader.expected }))
}

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A member of the object itself; inherited ones do not count. */
export const member = (object: JsonObject, key: string): Json | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined

/** A value where Mooncake expects text: a missing one is empty, and only a compound is invalid. */
export const textOf = (value: Json | undefined): string | undefined => {
  if (typeof value === "string") return value
  if (value === undefined || value === null) return ""
  return typeof value === "object" ? undefined : String(value)
}

const plainString = /^[ !#-[\]-~]*$/

const escape = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`

const quote = (text: string): string =>
  plainString.test(text)
    ? `"${text}"`
    : JSON.stringify(text.toWellFormed()).replace(/[\u0080-\uffff]/g, escape)

const printedObject = (value: Printable): string => {
  let members = ""
  for (const key of Object.keys(value).toSorted()) {
    const member = value[key]
    if (member === undefined) continue
    if (members !== "") members += ","
    members += `${quote(key)}:${printed(member)}`
  }
  return `{${members}}`
}

const printed = (value: Json | Printable): string => {
  if (typeof value === "string") return quote(value)
  if (value === null || typeof value !== "object") return String(value)
  if (!Array.isArray(value)) return printedObject(value as Printable)
  return value.length === 0 ? "[]" : `[${value.map(printed).join()}]`
}

/** An undefined member is left out. */
interface Printable {
  readonly [key: string]: Json | undefined
}

/** One line, which ends with a newline. */
export const print = (value: Json | Printable): string => `${printed(value)}\n`

/** Text that the engine writes as Mooncake does: nothing in it is escaped. */
const alike = /^[ -[\]-~]*$/

/** The same for a value with its keys in order, and without large integers. */
export const printInOrder = (value: Printable): string => {
  const text = JSON.stringify(value)
  return alike.test(text) ? `${text}\n` : print(value)
}
