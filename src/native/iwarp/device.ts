/** A network interface as an RDMA device. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomInt } from "node:crypto"
import { networkInterfaces } from "node:os"
import * as Gid from "../../schema/Gid.ts"
import type { IoPool } from "../IoPool.ts"
import type {
  Device,
  DeviceEvent,
  DeviceInfo,
  DeviceLimits,
  GidEntry,
  PortInfo,
  ProtectionDomain
} from "../verbs/Device.ts"
import type { Options as QueuePairOptions, QueuePair } from "../verbs/QueuePair.ts"
import type { Options as RegionOptions, Region } from "../verbs/Region.ts"
import { SoftCompletionQueue } from "../verbs/soft/completions.ts"
import { hold, Holding, type Sort } from "../verbs/soft/holdings.ts"
import { offence } from "../verbs/soft/memory.ts"
import {
  type CreateError,
  InvalidAttribute,
  LimitExceeded,
  type OpenError,
  Released,
  Unsupported
} from "../verbs/VerbsError.ts"
import { Card } from "./card.ts"
import { connect } from "./connecting.ts"
import { bindAll, listen, receive } from "./listening.ts"
import { Meeting } from "./meeting.ts"
import { QueueMemory } from "./queueMemory.ts"
import { type Host, IwarpQueuePair } from "./queuePair.ts"
import { regionLimit } from "./regionTable.ts"
import { IwarpRegion } from "./regions.ts"
import type { Resolved } from "./settings.ts"

/** Bounded by the memory that queues take, and by what other ends are known to do. */
const limits: DeviceLimits = {
  queuePairs: 65_536,
  depth: 32_768,
  parts: 16,
  inline: 512,
  completionQueues: 65_536,
  completions: 1_048_576,
  regions: regionLimit,
  regionBytes: 2 ** 32 - 1,
  messageBytes: 2 ** 32 - 1,
  reads: 128
}

/** The most events that a reader may be behind; the oldest go first. */
const eventsBehind = 1024
/** Places of a completion queue whose size nobody chose. */
const defaultCompletions = 4096
/** Callers that wait in the kernel. */
const callersBehind = 128
/** Tries to find a port that is free on all addresses. */
const portTries = 8

const gidsOf = (name: string): ReadonlyArray<GidEntry> =>
  (networkInterfaces()[name] ?? [])
    // An address of the link alone means nothing without the interface.
    .filter(({ address }) => !address.startsWith("fe80:"))
    .flatMap(({ address }) => Gid.fromAddress(address) ?? [])
    .map((gid, index) => ({ index, gid, type: "iwarp" as const, interface: name }))

/** The interfaces with addresses, those that reach further first. */
export const devices = (): ReadonlyArray<DeviceInfo> =>
  Object.entries(networkInterfaces())
    .toSorted(([, one], [, other]) => Number(one?.[0]?.internal) - Number(other?.[0]?.internal))
    .filter(([name]) => gidsOf(name).length > 0)
    .map(([name]) => ({ name, ports: [1], limits }))

type Sizes = ReadonlyArray<readonly [resource: string, wanted: number, limit: number]>

/** Makes something, if its owner is there, the device has one left and the sizes are possible. */
const create = <A extends { readonly holding: Holding }>(
  card: Card,
  owner: Holding,
  sort: Sort,
  sizes: Sizes,
  make: () => A | CreateError
): Effect.Effect<A, CreateError, Scope.Scope> =>
  hold(
    Effect.suspend(() => {
      if (owner.isReleased) {
        return Effect.fail(new Released({ resource: owner.sort, reason: "released" }))
      }
      const over = sizes.find(([, wanted, limit]) => wanted > limit)
      if (over !== undefined) {
        const [resource, wanted, limit] = over
        return Effect.fail(new LimitExceeded({ device: card.name, resource, wanted, limit }))
      }
      const low = sizes.find(([, wanted]) => !Number.isInteger(wanted) || wanted < 0)
      if (low !== undefined) {
        const [attribute, wanted] = low
        const detail = `${wanted} is no size`
        return Effect.fail(new InvalidAttribute({ operation: `new ${sort}`, attribute, detail }))
      }
      const made = make()
      return "holding" in made ? Effect.succeed(made) : Effect.fail(made)
    })
  )

/** A protection domain. */
class Domain implements ProtectionDomain {
  readonly holding: Holding
  readonly #card: Card
  readonly #host: Host
  readonly #number: number

  constructor(card: Card, host: Host) {
    this.#card = card
    this.#host = host
    this.#number = card.newDomain()
    this.holding = new Holding("protection domain", [card.holding], () => undefined)
  }

  register(options: RegionOptions): Effect.Effect<Region, CreateError, Scope.Scope> {
    const wrong = offence(options)
    if (wrong !== undefined) {
      return Effect.fail(new InvalidAttribute({ operation: "register", ...wrong }))
    }
    const card = this.#card
    const { memory: wanted, offset = 0 } = options
    const bytes = typeof wanted === "number" ? wanted : wanted.byteLength
    const sizes: Sizes = [
      ["octets of a region", options.length ?? bytes - offset, limits.regionBytes],
      ["regions", card.holding.count("region") + 1, limits.regions]
    ]
    return Effect.suspend(() => {
      const memory = typeof wanted === "number" ? new SharedArrayBuffer(wanted) : wanted
      return Effect.flatMap(card.pool.register(memory), ({ id }) =>
        create(card, this.holding, "region", sizes, () => {
          const known = { ...options, memory }
          return new IwarpRegion(card.regions, known, this.#number, id, this.holding)
        })
      )
    })
  }

  queuePair(options: QueuePairOptions): Effect.Effect<QueuePair, CreateError, Scope.Scope> {
    const card = this.#card
    const { maxInline = 64, maxParts = 4, receiveDepth = 256, sendDepth = 256 } = options
    const { sendCompletions: sends, receiveCompletions: receives = sends } = options
    const sizes: Sizes = [
      ["queue pairs", card.queuePairs.size + 1, limits.queuePairs],
      ["sendDepth", sendDepth, limits.depth],
      ["receiveDepth", receiveDepth, limits.depth],
      ["maxParts", maxParts, limits.parts],
      ["maxInline", maxInline, limits.inline]
    ]
    const shape = { sendDepth, receiveDepth, parts: maxParts, inline: maxInline }
    const make = (memory: QueueMemory, buffer: number): IwarpQueuePair | CreateError => {
      if (!(sends instanceof HeldCompletions) || !(receives instanceof HeldCompletions)) {
        const detail = "not one of this device"
        return new InvalidAttribute({ operation: "queuePair", attribute: "completions", detail })
      }
      if (sends.isReleased || receives.isReleased) {
        return new Released({ resource: "completion queue", reason: "released" })
      }
      const number = card.newNumber()
      const made = new IwarpQueuePair({
        host: this.#host,
        number,
        domain: this.#number,
        owners: [this.holding, sends.holding, receives.holding],
        memory,
        buffer,
        sends,
        receives,
        sendDepth,
        receiveDepth,
        limits: { parts: maxParts, inline: maxInline, messageBytes: limits.messageBytes },
        released: () => card.queuePairs.delete(number)
      })
      card.queuePairs.set(number, made)
      return made
    }
    const isPossible = sizes.every(([, wanted, limit]) => wanted >= 0 && wanted <= limit)
    return Effect.suspend(() => {
      const memory = QueueMemory.make(isPossible ? shape : smallest)
      return Effect.flatMap(card.pool.register(memory.memory), ({ id }) =>
        create(card, this.holding, "queue pair", sizes, () => make(memory, id))
      )
    })
  }
}

const smallest = { sendDepth: 1, receiveDepth: 1, parts: 1, inline: 0 }

/** A completion queue, and what holds it. */
class HeldCompletions extends SoftCompletionQueue {
  readonly holding: Holding

  constructor(card: Card, capacity: number) {
    super(capacity, "completion queue")
    this.holding = new Holding("completion queue", [card.holding], () => this.releaseUnsafe())
  }
}

const portOf = Effect.fnUntraced(function* (
  card: Card,
  number: number
): Effect.fn.Return<PortInfo, Released | InvalidAttribute> {
  if (card.holding.isReleased) {
    return yield* new Released({ resource: card.name, reason: "released" })
  }
  if (number !== 1) {
    const detail = `there is no port ${number}`
    return yield* new InvalidAttribute({ operation: "port", attribute: "number", detail })
  }
  const { gids, lid } = card
  const isUp = networkInterfaces()[card.name] !== undefined
  return { number, state: isUp ? "active" : "down", activeMtu: 4096, lid, gids }
})

const hostOf = (card: Card, meeting: Meeting): Host => ({
  regions: card.regions,
  meet: (queuePair) => meeting.meet(queuePair),
  awaited: (queuePair) => meeting.awaited(queuePair),
  fatal: ({ number: queuePair }, detail) =>
    card.emit({ _tag: "QueuePairFatal", queuePair, detail }),
  checkPort: (step) => {
    const operation = "modify"
    if (step.to === "init") {
      const { port = 1 } = step
      if (port === 1) return undefined
      const detail = `there is no port ${port}`
      return new InvalidAttribute({ operation, attribute: "port", detail })
    }
    const { gidIndex = 0 } = step.path
    if (gidIndex < card.gids.length) return undefined
    const detail = `there is no GID ${gidIndex}`
    return new InvalidAttribute({ operation, attribute: "gidIndex", detail })
  }
})

/** Takes callers of out-of-band queue pairs, on one port of all addresses. */
const takeCallers = (card: Card, meeting: Meeting) =>
  Effect.gen(function* () {
    const hosts = card.gids.map(({ gid }) => Gid.toAddress(gid))
    const { address, listeners } = yield* bindAll(card, hosts, 0, callersBehind)
    card.lid = address.port
    for (const listener of listeners) {
      const receiving = receive(card, listener, (link, said) => meeting.called(link, said))
      yield* Effect.forkScoped(receiving, { startImmediately: true })
    }
  }).pipe(
    Effect.retry({ times: portTries }),
    Effect.mapError(
      ({ message }) =>
        new Unsupported({ provider: "iwarp", feature: "out-of-band callers", detail: message })
    )
  )

/** Opens a device. */
export const open: (
  name: string,
  pool: IoPool["Service"],
  settings: Resolved
) => Effect.Effect<Device, OpenError, Scope.Scope> = Effect.fnUntraced(
  function* (name, pool, settings) {
    const events = yield* PubSub.sliding<DeviceEvent>(eventsBehind)
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) =>
      Scope.close(scope, Exit.void)
    )
    const context = yield* Effect.context()
    const fork = (effect: Effect.Effect<unknown>): void => {
      Effect.runForkWith(context)(Effect.forkIn(effect, scope))
    }
    const card = yield* hold(
      Effect.sync(() => {
        const emit = (event: DeviceEvent): void => void PubSub.publishUnsafe(events, event)
        return new Card(
          { name, gids: gidsOf(name), pool, settings, scope, emit, fork },
          randomInt(2 ** 24)
        )
      })
    )
    const meeting = new Meeting(card)
    const host = hostOf(card, meeting)
    yield* Scope.provide(takeCallers(card, meeting), scope)
    const { holding } = card
    return {
      info: { name, ports: [1], limits },
      port: (number = 1) => portOf(card, number),
      events: Stream.fromPubSub(events),
      protectionDomain: create(
        card,
        holding,
        "protection domain",
        [],
        () => new Domain(card, host)
      ),
      completionQueue: (capacity = defaultCompletions) => {
        const sizes = [["completions", capacity, limits.completions]] as const
        return create(
          card,
          holding,
          "completion queue",
          sizes,
          () => new HeldCompletions(card, capacity)
        )
      },
      listen: (options = {}) => listen(card, options),
      connect: (options) => connect(card, options)
    }
  }
)
