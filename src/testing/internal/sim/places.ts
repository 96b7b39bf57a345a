/**
 * Finds the source line of each `yield*` of a program, while there is a listener.
 *
 * Effect passes the value of every `yield*` through `SingleShotGen.next`, which the generator calls
 * itself: once when the operation begins, once when it is done. One stack frame above it is the
 * source place.
 */
import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { fileURLToPath } from "node:url"
import * as Fiber from "effect/Fiber"
import { SingleShotGen } from "effect/Utils"
import { isError } from "./errorText.ts"

/** A place in a source file. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly text: string
  /** The operation there, without the surrounding code: `balance = Ref.get(account)`. */
  readonly operation: string
  /** False inside of libraries. */
  readonly isProgram: boolean
  /** The same for the same text of a file, at any line. */
  readonly key: string
}

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** Called at the begin and at the end of each `yield*`; `operation` is the same object at both. */
export interface Listener {
  readonly accepts: (fiber: AnyFiber) => boolean
  readonly begins: (fiber: AnyFiber, operation: object, place: Place) => void
  readonly ends: (fiber: AnyFiber, operation: object, place: Place, value: unknown) => void
}

const testingFolder = fileURLToPath(new URL("../../", import.meta.url))

const sources = new Map<string, ReadonlyArray<string>>()

const linesOf = (file: string): ReadonlyArray<string> => {
  let lines = sources.get(file)
  if (lines === undefined) {
    try {
      lines = readFileSync(file, "utf8").split("\n")
    } catch {
      lines = []
    }
    sources.set(file, lines)
  }
  return lines
}

const isLibrary = (file: string): boolean =>
  file.includes("/node_modules/") || file.startsWith("node:") || file.startsWith(testingFolder)

/** Up to the bracket that closes an earlier one, or the end of the line. */
const balanced = (text: string): string => {
  let depth = 0
  for (const [index, char] of [...text].entries()) {
    if ("([{".includes(char)) depth++
    if (")]}".includes(char) && --depth < 0) return text.slice(0, index)
    if (depth === 0 && (char === "," || char === ";")) return text.slice(0, index)
  }
  return text
}

/** Finds the `yield*` before a column; the name of its result stays. */
const operationAt = (line: string, column: number): string => {
  const at = line.lastIndexOf("yield* ", column - 1)
  if (at === -1) return line.trim()
  const name = /([\w$]+|[[{][^=]*) = $/.exec(line.slice(0, at))?.[0] ?? ""
  const operation = balanced(line.slice(at + "yield* ".length)).trim()
  return name + operation.replace(/[([{]$/, (open) => `${open}...`)
}

const frame = /\(?((?:file:\/\/)?[^\s()]+):(\d+):(\d+)\)?$/

/** The place in one line of a stack. */
const placeOfFrame = (stackLine: string): Place | undefined => {
  const match = frame.exec(stackLine.trim())
  if (match === null) return undefined
  const file = match[1]!.startsWith("file://") ? fileURLToPath(match[1]!) : match[1]!
  const line = Number(match[2])
  const source = linesOf(file)[line - 1] ?? ""
  const text = source.trim()
  const key = `${basename(file)}: ${text === "" ? line : text}`
  const operation = text === "" ? `line ${line}` : operationAt(source, Number(match[3]))
  return { file, line, text, operation, isProgram: !isLibrary(file), key }
}

/** The first place of the program in the stack of an error. */
export const placeOfError = (error: unknown): Place | undefined => {
  if (!isError(error) || typeof error.stack !== "string") return undefined
  for (const line of error.stack.split("\n")) {
    if (!line.trimStart().startsWith("at ")) continue
    const place = placeOfFrame(line)
    if (place?.isProgram === true) return place
  }
  return undefined
}

/** `bank.ts:16`. */
export const shortPlace = ({ file, line }: Place): string => `${basename(file)}:${line}`

const unknownPlace: Place = {
  file: "",
  line: 0,
  text: "",
  operation: "",
  isProgram: false,
  key: ""
}
const places = new Map<string, Place>()

/** Calls `f` with other settings of V8's stack traces. */
const capture = (below: Function, prepare: typeof Error.prepareStackTrace): unknown => {
  const { prepareStackTrace, stackTraceLimit } = Error
  const holder: { stack?: unknown } = {}
  Error.stackTraceLimit = 1
  Error.prepareStackTrace = prepare
  try {
    Error.captureStackTrace(holder, below)
    return holder.stack
  } finally {
    Error.stackTraceLimit = stackTraceLimit
    Error.prepareStackTrace = prepareStackTrace
  }
}

/** The caller's caller. Raw positions are the key, and are mapped to sources once each. */
const callerOf = (below: Function): Place => {
  const site = capture(below, (_, sites) => sites[0])
  if (typeof site !== "object" || site === null) return unknownPlace
  const call = site as NodeJS.CallSite
  const raw = `${call.getFileName()}:${call.getLineNumber()}:${call.getColumnNumber()}`
  let place = places.get(raw)
  if (place === undefined) {
    const text = String(capture(below, Error.prepareStackTrace)).split("\n").at(-1)!
    place = placeOfFrame(text) ?? unknownPlace
    places.set(raw, place)
  }
  return place
}

const listeners = new Set<Listener>()
const prototype: { next: (this: { done: boolean }, value: unknown) => unknown } =
  SingleShotGen.prototype as never
const plain = prototype.next

function next(this: { done: boolean }, value: unknown): unknown {
  const fiber = Fiber.getCurrent()
  if (fiber !== undefined) {
    for (const listener of listeners) {
      if (!listener.accepts(fiber)) continue
      if (this.done) listener.ends(fiber, this, callerOf(next), value)
      else listener.begins(fiber, this, callerOf(next))
    }
  }
  return plain.call(this, value)
}

/** Listens until the returned function is called. */
export const listen = (listener: Listener): (() => void) => {
  listeners.add(listener)
  prototype.next = next
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) prototype.next = plain
  }
}
