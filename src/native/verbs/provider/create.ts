/** Opens devices, and creates resources on them within their limits. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DeviceInfo, DeviceLimits } from "../Device.ts"
import type { Provider, Reach } from "../Verbs.ts"
import { type CreateError, DeviceNotFound, InvalidAttribute, LimitExceeded } from "../VerbsError.ts"
import { acquireResource, type HasResource, type Resource, type ResourceKind } from "./resources.ts"

/** The requested size of each part of a resource, and its limit. */
export type Sizes = ReadonlyArray<readonly [what: string, wanted: number, limit: number]>

/** The limits of kinds whose number is limited by the device. */
const countLimits: Partial<Record<ResourceKind, keyof DeviceLimits>> = {
  "queue pair": "queuePairs",
  region: "regions",
  "completion queue": "completionQueues"
}

/** Checks that the owner is not released, and that count and sizes are within their limits. */
const validateCreate = (
  { limits, name: device }: DeviceInfo,
  owner: Resource,
  kind: ResourceKind,
  sizes: Sizes
): CreateError | undefined => {
  const released = owner.releasedError()
  if (released !== undefined) return released
  const limit = countLimits[kind]
  const number = [`${kind}s`, owner.count(kind) + 1, limit ? limits[limit] : Infinity] as const
  for (const [resource, wanted, limit] of [number, ...sizes]) {
    if (wanted > limit) return new LimitExceeded({ device, resource, wanted, limit })
    if (Number.isInteger(wanted) && wanted >= 0) continue
    const detail = `${wanted} is no size`
    return new InvalidAttribute({ operation: `new ${kind}`, attribute: resource, detail })
  }
  return undefined
}

/** Creates a resource that is released with the Scope, or with its owner before that. */
export const create = <A extends HasResource>(
  info: DeviceInfo,
  owner: Resource,
  kind: ResourceKind,
  sizes: Sizes,
  make: Effect.Effect<A, CreateError, Scope.Scope>
): Effect.Effect<A, CreateError, Scope.Scope> =>
  acquireResource(
    Effect.suspend(() => {
      const invalid = validateCreate(info, owner, kind, sizes)
      return invalid === undefined ? make : Effect.fail(invalid)
    })
  )

interface Devices<A> {
  readonly list: () => ReadonlyArray<A>
  readonly open: (device: A, reach: Reach) => ReturnType<Provider["open"]>
  /** Whether a device has an address. Default: devices have none. */
  readonly hasAddress?: (device: A, host: string) => boolean
}

/** Opens a device by its name or by an address that it has; the first one without either. */
export const openByNameOrAddress =
  <A extends { readonly name: string }>({
    hasAddress = () => false,
    list,
    open
  }: Devices<A>): Provider["open"] =>
  (name, reach = {}) =>
    Effect.suspend(() => {
      const devices = list()
      const { host } = reach
      const byHost = host === undefined ? undefined : devices.find((one) => hasAddress(one, host))
      const found =
        name === undefined ? (byHost ?? devices[0]) : devices.find((one) => one.name === name)
      if (found !== undefined) return open(found, reach)
      const available = devices.map((device) => device.name)
      return Effect.fail(new DeviceNotFound({ device: name ?? "at all", available }))
    })
