/**
 * Texts of errors and values for messages, for any value: an object, a cyclic one, one whose
 * getters or traps throw. A message that throws would hide the failure that it describes.
 */
import { inspect } from "node:util"

/** Limits of one value in a message, so that a large one does not push out the rest. */
const limits = { depth: 4, maxArrayLength: 20, maxStringLength: 500 }

/** Returns `otherwise` if `read` throws. */
const attempt = <A>(read: () => A, otherwise: A): A => {
  try {
    return read()
  } catch {
    return otherwise
  }
}

/** The name and the message, also of a copy of an error that lost its prototype. */
const errorParts = (
  value: unknown
): { readonly name: string; readonly message: string } | undefined =>
  attempt(() => {
    if (typeof value !== "object" || value === null || !("message" in value)) return undefined
    const { message } = value
    if (typeof message !== "string") return undefined
    const name: unknown = "name" in value ? value.name : undefined
    const isNamed = typeof name === "string" && name !== ""
    if (!isNamed && !(value instanceof Error)) return undefined
    return { name: isNamed ? name : "Error", message }
  }, undefined)

/** A value on one line. Traps of a proxy are not called. */
const shownText = (value: unknown): string =>
  attempt(
    () =>
      typeof value === "string"
        ? value
        : inspect(value, { ...limits, breakLength: Infinity, compact: true }),
    "a value that cannot be shown"
  )

/** The message of an error; its name if that is empty; any other value as it is. */
export const messageText = (value: unknown): string => {
  const parts = errorParts(value)
  return parts === undefined ? shownText(value) : parts.message === "" ? parts.name : parts.message
}

/** An error with its name, as `String` gives it; any other value as it is. */
export const errorText = (value: unknown): string => {
  const parts = errorParts(value)
  if (parts === undefined) return shownText(value)
  return parts.message === "" ? parts.name : `${parts.name}: ${parts.message}`
}

/** Its JSON; a value without any, or with empty JSON, as it is. */
export const jsonText = (value: unknown): string =>
  attempt(() => JSON.stringify(value) ?? shownText(value), "") || shownText(value)

/** The tag, the name or the type of an error. */
export const kindOf = (value: unknown): string =>
  attempt(() => {
    if (typeof value !== "object" || value === null) return typeof value
    if ("_tag" in value) return messageText(value._tag)
    return value instanceof Error ? value.name : "object"
  }, "object")

/** Whether it is an error; false if that cannot be decided. */
export const isError = (value: unknown): value is Error =>
  attempt(() => value instanceof Error && typeof value.message === "string", false)
