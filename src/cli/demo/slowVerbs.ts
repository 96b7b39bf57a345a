/** A provider whose queue pairs take their time: what a busy machine or a real card does. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Device, ProtectionDomain } from "../../native/verbs/Device.ts"
import type { QueuePair } from "../../native/verbs/QueuePair.ts"
import { Verbs } from "../../native/verbs/Verbs.ts"

/** The same thing with one method of its own; everything else is the original's. */
const withOwn = <A extends object>(original: A, own: Partial<A>): A =>
  new Proxy(original, {
    get: (target, key) => {
      if (Object.hasOwn(own, key)) return own[key as keyof A]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === "function" ? value.bind(target) : value
    }
  })

const slowDevice = (device: Device, millis: number): Device => {
  const slowPair = (queuePair: QueuePair): QueuePair =>
    withOwn(queuePair, { modify: (step) => Effect.delay(queuePair.modify(step), millis) })
  const slowDomain = (domain: ProtectionDomain): ProtectionDomain =>
    withOwn(domain, { queuePair: (options) => Effect.map(domain.queuePair(options), slowPair) })
  return withOwn(device, { protectionDomain: Effect.map(device.protectionDomain, slowDomain) })
}

/** Each step of each queue pair takes so many milliseconds longer. */
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
