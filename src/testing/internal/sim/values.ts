/** Results of operations as short texts. */
import * as Effect from "effect/Effect"

/** The longest text of a value in a trace. */
const maxLength = 40

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

/** Whether it is a handle or a service, whose methods are not shown. */
const isHandle = (value: object): boolean =>
  Object.values(value).some((field) => typeof field === "function" || Effect.isEffect(field))

const objectText = (value: object): string => {
  if (Array.isArray(value) && value.every((element) => element === undefined)) return ""
  if (value instanceof Error) return value.message === "" ? value.name : value.message
  if ("_id" in value || "_tag" in value) {
    const text = String(value)
    return text.startsWith("[object") ? "" : text
  }
  return isPlain(value) && !isHandle(value) ? JSON.stringify(value) : ""
}

/** Empty for uninformative values: `undefined`, and objects without a short form. */
export const valueText = (value: unknown): string => {
  if (value === undefined) return ""
  try {
    if (typeof value === "function" || typeof value === "symbol") return ""
    const isObject = typeof value === "object" && value !== null
    const text = isObject
      ? objectText(value)
      : typeof value === "string"
        ? JSON.stringify(value)
        : String(value)
    return text.length > maxLength ? `${text.slice(0, maxLength - 3)}...` : text
  } catch {
    return ""
  }
}
