/** A provider with slow queue pairs, like a busy machine or a real NIC. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Device, ProtectionDomain } from "../../native/verbs/Device.ts"
import type { QueuePair } from "../../native/verbs/QueuePair.ts"
import { Verbs } from "../../native/verbs/Verbs.ts"

/** Overrides members of an object; all others are the original's. */
const override = <A extends object>(original: A, members: Partial<A>): A =>
  new Proxy(original, {
    get: (target, key) => {
      if (Object.hasOwn(members, key)) return members[key as keyof A]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === "function" ? value.bind(target) : value
    }
  })

const slowDevice = (device: Device, millis: number): Device => {
  const slowPair = (queuePair: QueuePair): QueuePair =>
    override(queuePair, { modify: (step) => Effect.delay(queuePair.modify(step), millis) })
  const slowDomain = (domain: ProtectionDomain): ProtectionDomain =>
    override(domain, { queuePair: (options) => Effect.map(domain.queuePair(options), slowPair) })
  return override(device, { protectionDomain: Effect.map(device.protectionDomain, slowDomain) })
}

/** Each transition of each queue pair takes so many milliseconds longer. */
export const layerSlow =
  (millis: number) =>
  <E, R>(verbs: Layer.Layer<Verbs, E, R>): Layer.Layer<Verbs, E, R> =>
    Layer.effect(
      Verbs,
      Effect.map(Verbs, (provider) => ({
        ...provider,
        open: (name, reach) =>
          Effect.map(provider.open(name, reach), (device) => slowDevice(device, millis))
      }))
    ).pipe(Layer.provide(verbs))
