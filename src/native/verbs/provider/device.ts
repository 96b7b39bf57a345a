/** A device as a program sees it, out of what a provider does itself. */
import * as Effect from "effect/Effect"
import type { CompletionQueue } from "../Completion.ts"
import type { Device, DeviceInfo, PortInfo } from "../Device.ts"
import { InvalidAttribute, type Released } from "../VerbsError.ts"
import type { AddressSpace } from "../software/addressSpace.ts"
import { connect, type Dialling } from "./connect.ts"
import type { SoftConnection } from "./connection.ts"
import { create } from "./create.ts"
import { type Maker, SoftDomain } from "./domain.ts"
import type { Held, Holding } from "./resources.ts"
import { type Hearing, listen } from "./listen.ts"
import { Own } from "./own.ts"

/** Places of a completion queue whose size nobody chose. */
const defaultCompletions = 4096

/** What a provider does itself. */
export interface Native<Completions extends CompletionQueue & Held, C extends SoftConnection>
  extends Maker<Completions, C["queuePair"]>, Dialling<C>, Hearing<C> {
  readonly info: DeviceInfo
  /** What peers call memory; shared by all devices of a provider. */
  readonly memory: AddressSpace
  readonly holding: Holding
  readonly events: Device["events"]
  /** A port of `info.ports` as it is now. */
  readonly port: (number: number) => Omit<PortInfo, "number">
  readonly completions: (capacity: number) => Completions
}

/** The port, if the device is there and has it. */
const portOf = Effect.fnUntraced(function* (
  { holding, info, port }: Pick<Native<never, never>, "holding" | "info" | "port">,
  number: number
): Effect.fn.Return<PortInfo, Released | InvalidAttribute> {
  const gone = holding.gone(info.name)
  if (gone !== undefined) return yield* gone
  if (info.ports.includes(number)) return { number, ...port(number) }
  const detail = `there is no port ${number}`
  return yield* new InvalidAttribute({ operation: "port", attribute: "number", detail })
})

/** The device. */
export const deviceOf = <Completions extends CompletionQueue & Held, C extends SoftConnection>(
  native: Native<Completions, C>
): Device => {
  const { events, holding, info, memory } = native
  const completions = new Own<Completions>()
  const queuePairs = new Own<C["queuePair"]>()
  const made = { info, memory, completions, queuePairs }
  const parts = { info, queuePairs, dialling: native }
  const newDomain = Effect.sync(() => new SoftDomain(holding, made, native))
  return {
    info,
    port: (number = 1) => portOf(native, number),
    events,
    protectionDomain: create(info, holding, "protection domain", [], newDomain),
    completionQueue: (capacity = defaultCompletions) => {
      const sizes = [["completions", capacity, info.limits.completions]] as const
      const make = Effect.sync(() => completions.add(native.completions(capacity)))
      return create(info, holding, "completion queue", sizes, make)
    },
    listen: (options = {}) => listen(holding, parts, native, options),
    connect: (options) => connect(parts, options)
  }
}
