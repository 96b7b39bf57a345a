/** Makes a `Device` of a provider's backend. */
import * as Effect from "effect/Effect"
import type { CompletionQueue } from "../Completion.ts"
import type { Device, DeviceInfo, PortInfo } from "../Device.ts"
import { type CreateError, InvalidAttribute, type Released } from "../VerbsError.ts"
import { connect, type ConnectBackend } from "./connect.ts"
import type { ProviderConnection } from "./connection.ts"
import { create } from "./create.ts"
import { ProviderDomain, type ResourceBackend } from "./domain.ts"
import { listen, type ListenBackend } from "./listen.ts"
import type { HasResource, Resource } from "./resources.ts"

/** Slots of a completion queue that is created without a capacity. */
const defaultCompletionSlots = 4096

/** The operations that each provider implements. */
export interface DeviceBackend<
  Completions extends CompletionQueue & HasResource,
  C extends ProviderConnection
>
  extends ResourceBackend<Completions, C["queuePair"]>, ConnectBackend<C>, ListenBackend<C> {
  readonly info: DeviceInfo
  readonly resource: Resource
  readonly events: Device["events"]
  /** The current state of a port of `info.ports`. */
  readonly port: (number: number) => Effect.Effect<Omit<PortInfo, "number">, Released>
  readonly completionQueue: (capacity: number) => Effect.Effect<Completions, CreateError>
}

const portOf = Effect.fnUntraced(function* (
  { info, port, resource }: Pick<DeviceBackend<never, never>, "info" | "port" | "resource">,
  number: number
): Effect.fn.Return<PortInfo, Released | InvalidAttribute> {
  const released = resource.releasedError(info.name)
  if (released !== undefined) return yield* released
  if (info.ports.includes(number)) return { number, ...(yield* port(number)) }
  const detail = `there is no port ${number}`
  return yield* new InvalidAttribute({ operation: "port", attribute: "number", detail })
})

/** Makes a device that checks each operation before its backend executes it. */
export const deviceOf = <
  Completions extends CompletionQueue & HasResource,
  C extends ProviderConnection
>(
  backend: DeviceBackend<Completions, C>
): Device => {
  const { events, info, resource } = backend
  const completions = new WeakSet<Completions>()
  const queuePairs = new WeakSet<C["queuePair"]>()
  const context = { info, queuePairs, backend }
  const newDomain = ProviderDomain.make(resource, { info, completions, queuePairs }, backend)
  return {
    info,
    port: (number = 1) => portOf(backend, number),
    events,
    protectionDomain: create(info, resource, "protection domain", [], newDomain),
    completionQueue: (capacity = defaultCompletionSlots) => {
      const sizes = [["completions", capacity, info.limits.completions]] as const
      const make = Effect.tap(
        Effect.suspend(() => backend.completionQueue(capacity)),
        (queue) => Effect.sync(() => completions.add(queue))
      )
      return create(info, resource, "completion queue", sizes, make)
    },
    listen: (options = {}) => listen(resource, context, backend, options),
    connect: (options) => connect(context, options)
  }
}
