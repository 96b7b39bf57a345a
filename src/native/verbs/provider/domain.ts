/** A protection domain: what is registered and made in it is checked here, and then made. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CompletionQueue } from "../Completion.ts"
import type { DeviceInfo, ProtectionDomain } from "../Device.ts"
import type { Options as QueuePairOptions, QueuePair } from "../QueuePair.ts"
import type { Options as RegionOptions, Region } from "../Region.ts"
import { type CreateError, InvalidAttribute } from "../VerbsError.ts"
import type { AddressSpace } from "../software/addressSpace.ts"
import { create } from "./create.ts"
import { type Held, Holding } from "./resources.ts"
import { type Known, offence } from "../software/memory.ts"
import type { Own } from "./own.ts"
import type { WorkLimits } from "../software/workQueues.ts"

/** Where something is made: the number of its domain, and what it is held by. */
export interface Place {
  readonly domain: number
  readonly owners: ReadonlyArray<Holding>
}

/** A queue pair that is wanted, with all defaults filled in. */
export interface Wanted<Completions> extends Place {
  readonly sends: Completions
  readonly receives: Completions
  readonly sendDepth: number
  readonly receiveDepth: number
  readonly limits: WorkLimits
  /** Reads and atomic operations that may be under way in one direction. */
  readonly reads: number
}

/** What a provider makes in a domain, once it is known to be possible. */
export interface Maker<Completions, Pair> {
  readonly region: (
    known: Known,
    place: Place
  ) => Effect.Effect<Region & Held, CreateError, Scope.Scope>
  readonly queuePair: (
    wanted: Wanted<Completions>
  ) => Effect.Effect<Pair & Held, CreateError, Scope.Scope>
}

/** What a device has made, for its domains to know. */
export interface Made<Completions extends object, Pair extends object> {
  readonly info: DeviceInfo
  readonly memory: AddressSpace
  readonly completions: Own<Completions>
  readonly queuePairs: Own<Pair>
}

/** Numbers differ among all devices: memory of one must not count as that of another. */
let domains = 0

/** Memory for a region; nothing if there is not so much. */
const allocate = (octets: number): SharedArrayBuffer | undefined => {
  try {
    return new SharedArrayBuffer(octets)
  } catch {
    return undefined
  }
}

const invalid = (operation: string, attribute: string, detail: string) =>
  Effect.fail(new InvalidAttribute({ operation, attribute, detail }))

/** A protection domain. */
export class SoftDomain<
  Completions extends CompletionQueue & Held,
  Pair extends QueuePair
> implements ProtectionDomain {
  readonly holding: Holding
  readonly #made: Made<Completions, Pair>
  readonly #maker: Maker<Completions, Pair>
  readonly #number = ++domains

  constructor(device: Holding, made: Made<Completions, Pair>, maker: Maker<Completions, Pair>) {
    this.#made = made
    this.#maker = maker
    this.holding = new Holding("protection domain", [device], () => undefined)
  }

  register(options: RegionOptions): Effect.Effect<Region, CreateError, Scope.Scope> {
    const { attribute, detail } = offence(options) ?? {}
    if (attribute !== undefined) return invalid("register", attribute, detail!)
    const { memory: wanted, offset = 0 } = options
    const bytes = typeof wanted === "number" ? wanted : wanted.byteLength
    const { info } = this.#made
    const length = options.length ?? bytes - offset
    const sizes = [["octets of a region", length, info.limits.regionBytes]] as const
    const make = Effect.suspend(() => {
      const memory = typeof wanted === "number" ? allocate(wanted) : wanted
      if (memory === undefined) return invalid("register", "memory", `no ${bytes} octets are left`)
      const { access = ["local-write"] } = options
      const address = this.#made.memory.of(memory) + offset
      const place = { domain: this.#number, owners: [this.holding] }
      return this.#maker.region({ memory, offset, length, access, address }, place)
    })
    return create(info, this.holding, "region", sizes, make)
  }

  queuePair(options: QueuePairOptions): Effect.Effect<QueuePair, CreateError, Scope.Scope> {
    const { maxInline = 64, maxParts = 4, receiveDepth = 256, sendDepth = 256 } = options
    const { sendCompletions: sends, receiveCompletions: receives = sends } = options
    const { completions, info, queuePairs } = this.#made
    const { limits } = info
    const sizes = [
      ["sendDepth", sendDepth, limits.depth],
      ["receiveDepth", receiveDepth, limits.depth],
      ["maxParts", maxParts, limits.parts],
      ["maxInline", maxInline, limits.inline]
    ] as const
    const make = Effect.suspend(() => {
      if (!completions.has(sends) || !completions.has(receives)) {
        return invalid("queuePair", "completions", "not one of this device")
      }
      const gone = sends.holding.gone() ?? receives.holding.gone()
      if (gone !== undefined) return Effect.fail(gone)
      const wanted = {
        domain: this.#number,
        owners: [this.holding, sends.holding, receives.holding],
        sends,
        receives,
        sendDepth,
        receiveDepth,
        limits: { parts: maxParts, inline: maxInline, messageBytes: limits.messageBytes },
        reads: limits.reads
      }
      return Effect.map(this.#maker.queuePair(wanted), (made) => queuePairs.add(made))
    })
    return create(info, this.holding, "queue pair", sizes, make)
  }
}
