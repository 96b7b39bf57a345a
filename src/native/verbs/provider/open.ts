/** Opening a device by its name, or by an address that it has. */
import * as Effect from "effect/Effect"
import type { Provider, Reach } from "../Verbs.ts"
import { DeviceNotFound } from "../VerbsError.ts"

interface Devices<A> {
  readonly there: () => ReadonlyArray<A>
  readonly open: (device: A, reach: Reach) => ReturnType<Provider["open"]>
  /** Whether a device has an address. Default: devices have none. */
  readonly has?: (device: A, host: string) => boolean
}

/** How a provider opens its devices; the first one if nothing says which. */
export const opening =
  <A extends { readonly name: string }>({
    has = () => false,
    open,
    there
  }: Devices<A>): Provider["open"] =>
  (name, reach = {}) =>
    Effect.suspend(() => {
      const devices = there()
      const { host } = reach
      const byHost = host === undefined ? undefined : devices.find((one) => has(one, host))
      const found =
        name === undefined ? (byHost ?? devices[0]) : devices.find((one) => one.name === name)
      if (found !== undefined) return open(found, reach)
      const available = devices.map((device) => device.name)
      return Effect.fail(new DeviceNotFound({ device: name ?? "at all", available }))
    })
