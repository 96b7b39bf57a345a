/** Opening a device by its name. */
import * as Effect from "effect/Effect"
import type { Provider } from "../../Verbs.ts"
import { DeviceNotFound } from "../VerbsError.ts"

/** How a provider opens its devices; the first one if no name is given. */
export const opening =
  <A extends { readonly name: string }>(
    devices: () => ReadonlyArray<A>,
    open: (device: A) => ReturnType<Provider["open"]>
  ): Provider["open"] =>
  (name) =>
    Effect.suspend(() => {
      const there = devices()
      const found = name === undefined ? there[0] : there.find((device) => device.name === name)
      if (found !== undefined) return open(found)
      const available = there.map(({ name }) => name)
      return Effect.fail(new DeviceNotFound({ device: name ?? "at all", available }))
    })
