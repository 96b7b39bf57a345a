/** Making a resource: only where its owner is there, one is left and the sizes are possible. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DeviceInfo, DeviceLimits } from "../Device.ts"
import { type CreateError, InvalidAttribute, LimitExceeded } from "../VerbsError.ts"
import { type Held, hold, type Holding, type Sort } from "./resources.ts"

/** What is wanted of each thing that has a size, and the most that there is. */
export type Sizes = ReadonlyArray<readonly [what: string, wanted: number, limit: number]>

/** Of which sorts a device has so many. */
const limited: Partial<Record<Sort, keyof DeviceLimits>> = {
  "queue pair": "queuePairs",
  region: "regions",
  "completion queue": "completionQueues"
}

/** What stands against making one more of a sort on its owner. */
const obstacle = (
  { limits, name: device }: DeviceInfo,
  owner: Holding,
  sort: Sort,
  sizes: Sizes
): CreateError | undefined => {
  const gone = owner.gone()
  if (gone !== undefined) return gone
  const limit = limited[sort]
  const number = [`${sort}s`, owner.count(sort) + 1, limit ? limits[limit] : Infinity] as const
  for (const [resource, wanted, limit] of [number, ...sizes]) {
    if (wanted > limit) return new LimitExceeded({ device, resource, wanted, limit })
    if (Number.isInteger(wanted) && wanted >= 0) continue
    const detail = `${wanted} is no size`
    return new InvalidAttribute({ operation: `new ${sort}`, attribute: resource, detail })
  }
  return undefined
}

/** Makes something that is released with the Scope, or with its owner before that. */
export const create = <A extends Held>(
  info: DeviceInfo,
  owner: Holding,
  sort: Sort,
  sizes: Sizes,
  make: Effect.Effect<A, CreateError, Scope.Scope>
): Effect.Effect<A, CreateError, Scope.Scope> =>
  hold(
    Effect.suspend(() => {
      const wrong = obstacle(info, owner, sort, sizes)
      return wrong === undefined ? make : Effect.fail(wrong)
    })
  )
