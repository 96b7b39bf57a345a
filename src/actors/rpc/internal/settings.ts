/** Checks that clients and servers share before they look at how settings fit together. */
import * as Effect from "effect/Effect"
import { maxInlineBytes } from "../../../schema/rpc/ConnectionData.ts"
import { SettingsConflict } from "../RpcError.ts"
import type { Depths } from "./epoch.ts"
import type { Ground } from "./ground.ts"

/** Leaves out what is undefined, so that it does not hide a default. */
export const given = <A extends object>(options: A): Partial<A> => {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<A>
}

/** Numbers of a protocol: 0 means something. */
const numbers = new Set(["program", "version", "port"])

const isUsable = (name: string, value: unknown): boolean =>
  typeof value !== "number" ||
  numbers.has(name) ||
  (value > 0 && (name.endsWith("Ms") || Number.isInteger(value)))

/** Refuses the first number that is no limit: not above 0, or not whole where that matters. */
export const validateNumbers = (
  settings: object & { readonly inlineBytes: number }
): Effect.Effect<void, SettingsConflict> => {
  const wrong = Object.entries(settings).find(([name, value]) => !isUsable(name, value))
  if (wrong !== undefined) {
    const [name, value] = wrong
    return Effect.fail(new SettingsConflict({ settings: [name], detail: `${value} is no limit` }))
  }
  const { inlineBytes } = settings
  if (inlineBytes % 1_024 === 0 && inlineBytes <= maxInlineBytes) return Effect.void
  const detail = `${inlineBytes} is no multiple of 1024 up to ${maxInlineBytes}`
  return Effect.fail(new SettingsConflict({ settings: ["inlineBytes"], detail }))
}

/** Refuses queues that the device does not have. */
export const validateDepths = (
  { device }: Ground,
  { receives, sends, transfers }: Depths,
  settings: ReadonlyArray<string>
): Effect.Effect<void, SettingsConflict> => {
  const wanted = Math.max(receives, sends + transfers)
  const { depth } = device.info.limits
  if (wanted <= depth) return Effect.void
  const detail = `${wanted} places in a queue, of at most ${depth} of ${device.info.name}`
  return Effect.fail(new SettingsConflict({ settings, detail }))
}
