/**
 * Identifies failures while a run is shrunk: the same failure has the same kind, the same first
 * line of its message but for numbers, ids and times, and the same source place. Otherwise the
 * search moves from one bug to another that is easier to reach. Later lines depend on the run, such
 * as a history, and would restrict the search to that run.
 */
import { types } from "node:util"
import * as Cause from "effect/Cause"
import {
  Deadlock,
  InvariantBroken,
  LimitReached,
  ProcessFailed,
  TaskThrew
} from "../../SimError.ts"
import { isError, kindOf } from "./errorText.ts"
import { placeOfError } from "./places.ts"
import type { Ran } from "./runOnce.ts"

const uuid = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi
const isoTime = /\b\d{4}-\d\d-\d\d(T[\d:.]+Z?)?/g
const hexadecimal = /\b(0x[0-9a-f]+|(?=[a-f]*\d)[0-9a-f]{8,})\b/gi
/** A number after one of these words identifies the failure, as in `status 404`. */
const decimal = /(?<!\b(?:code|errno|error|status)[ :=]*-?[\d.]*)-?\d+(\.\d+)?(e[+-]?\d+)?n?/gi

/** A message without parts that differ between two runs into the same failure. */
export const shapeOf = (message: string): string =>
  [uuid, isoTime, hexadecimal, decimal]
    .reduce((text, pattern) => text.replaceAll(pattern, "#"), message)
    .replaceAll(/#(, ?#)+/g, "#")

const textOf = (error: unknown): string =>
  isError(error) ? error.message : typeof error === "string" ? error : ""

const isCode = (name: string): boolean => /^(code|errno|status|statusCode)$/.test(name)

/** Fields that identify the failure: texts without varying parts, and codes. */
const fieldsOf = (error: unknown): string => {
  // A proxy is not read, because its traps may throw.
  if (typeof error !== "object" || error === null || types.isProxy(error)) return ""
  const fields = Object.entries(Object.getOwnPropertyDescriptors(error))
  const texts = fields.map(([name, { enumerable = false, value }]) => {
    if (!enumerable) return ""
    if (typeof value === "string") return `${name}=${shapeOf(value)}`
    const tells = typeof value === "boolean" || (typeof value === "number" && isCode(name))
    return tells ? `${name}=${value}` : ""
  })
  return texts.filter((text) => text !== "").join()
}

const describe = (error: unknown, place: string): string =>
  [kindOf(error), shapeOf(textOf(error).split("\n", 1)[0]!), fieldsOf(error), place].join(" | ")

/** Equal for equal failures; `undefined` for a success. The run has to have been tracked. */
export const signatureOf = ({ exit, script }: Ran<unknown, unknown>): string | undefined => {
  if (exit._tag === "Success") return undefined
  const error = Cause.squash(exit.cause)
  const fibers = script?.fibers
  const placed = () => (fibers?.origins.get(error) ?? placeOfError(error))?.key ?? ""
  if (!isError(error)) return describe(error, placed())
  if (error instanceof Deadlock || error instanceof LimitReached) {
    // The place where the main fiber waits; the others may differ by the remaining faults.
    const [main] = fibers?.all.values() ?? []
    return [error._tag, main?.place?.key].join(" | ")
  }
  if (error instanceof InvariantBroken) return `${error.name} | ${shapeOf(error.detail)}`
  if (error instanceof ProcessFailed || error instanceof TaskThrew) {
    const { cause, process } = error
    const place = fibers?.origins.get(cause) ?? placeOfError(cause)
    return `${error._tag} ${process} | ${describe(cause, place?.key ?? "")}`
  }
  return describe(error, placed())
}
