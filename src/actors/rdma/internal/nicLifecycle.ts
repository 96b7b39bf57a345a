/**
 * A local NIC across hot-unplug. When the device disappears, all its resources are lost; when a
 * device of the same name appears, it is opened again, and becomes the NIC's device.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CompletionQueue } from "../../../native/verbs/Completion.ts"
import type { Device, DeviceEvent, ProtectionDomain } from "../../../native/verbs/Device.ts"
import {
  type CreateError,
  InvalidAttribute,
  type DeviceOpenError
} from "../../../native/verbs/VerbsError.ts"
import type { Provider, Reach } from "../../../native/verbs/Verbs.ts"
import * as Gid from "../../../schema/Gid.ts"
import * as Chaos from "../../kernel/Chaos.ts"
import { inOrder, type Place } from "./gidSelection.ts"

/** Settings and resources of a NIC. */
export interface Wanted {
  readonly path: string
  readonly reach: Reach
  readonly completions: number
  readonly gidIndex: number | undefined
  readonly reopenEveryMs: number
  readonly reopenWithinMs: number
}

/** An open device and the resources that each NIC has. */
interface OpenDevice {
  readonly scope: Scope.Closeable
  readonly device: Device
  readonly domain: ProtectionDomain
  readonly completions: CompletionQueue
  /** Done when the device was reopened. */
  readonly next: Deferred.Deferred<void>
}

/** Events that a reader may lag behind. */
const behind = 1_024
/** Milliseconds after which a device's events are being read: a turn or two of the scheduler. */
const untilRead = 1

/** Opens a device in a child Scope. */
const openDevice = Effect.fnUntraced(function* (
  verbs: Provider,
  name: string | undefined,
  { completions, reach }: Wanted
): Effect.fn.Return<OpenDevice, DeviceOpenError | CreateError, Scope.Scope> {
  const scope = yield* Scope.fork(yield* Effect.scope)
  return yield* Effect.gen(function* () {
    const device = yield* verbs.open(name, reach)
    const domain = yield* device.protectionDomain
    const queue = yield* device.completionQueue(completions)
    return { scope, device, domain, completions: queue, next: Deferred.makeUnsafe<void>() }
  }).pipe(
    Scope.provide(scope),
    Effect.onError(() => Scope.close(scope, Exit.void))
  )
})

const placeOf = Effect.fnUntraced(function* (
  device: Device,
  gidIndex: number | undefined,
  refused: ReadonlyArray<Gid.Gid>
): Effect.fn.Return<Place, CreateError> {
  const { activeMtu: mtu, gids, lid } = yield* device.port()
  if (gidIndex !== undefined) {
    const found = gids.find(({ index }) => index === gidIndex)
    if (found !== undefined) return { gid: found.gid, gidIndex, lid, mtu }
    const detail = `the port has no GID ${gidIndex} now`
    return yield* new InvalidAttribute({ operation: "port", attribute: "gidIndex", detail })
  }
  const all = inOrder(gids)
  const best = all.find(({ gid }) => !refused.includes(gid)) ?? all[0]
  return { gid: best?.gid ?? Gid.nowhere, gidIndex: best?.index ?? 0, lid, mtu }
})

class ReopeningNic {
  readonly path: string
  readonly acknowledges: boolean
  readonly events: Stream.Stream<DeviceEvent>
  readonly place: Effect.Effect<Place, CreateError>
  readonly #wanted: Wanted
  readonly #events: PubSub.PubSub<DeviceEvent>
  #current: OpenDevice

  constructor(
    wanted: Wanted,
    acknowledges: boolean,
    events: PubSub.PubSub<DeviceEvent>,
    current: OpenDevice
  ) {
    this.path = wanted.path
    this.acknowledges = acknowledges
    this.events = Stream.fromPubSub(events)
    this.place = Effect.suspend(() => this.placeWithout([]))
    this.#wanted = wanted
    this.#events = events
    this.#current = current
  }

  get device(): Device {
    return this.#current.device
  }

  get domain(): ProtectionDomain {
    return this.#current.domain
  }

  get completions(): CompletionQueue {
    return this.#current.completions
  }

  get reopened(): Effect.Effect<void> {
    return Deferred.await(this.#current.next)
  }

  placeWithout(refused: ReadonlyArray<Gid.Gid>): Effect.Effect<Place, CreateError> {
    return placeOf(this.device, this.#wanted.gidIndex, refused)
  }

  /** Publishes events of a device until it is lost. */
  #follow(device: Device): Effect.Effect<void> {
    const tell = (event: DeviceEvent) => PubSub.publish(this.#events, event)
    // A loss before its events are read would go unnoticed, so its port is read once after that.
    const look = Effect.matchEffect(Effect.delay(device.port(), untilRead), {
      onSuccess: () => Effect.never,
      onFailure: () => tell({ _tag: "DeviceRemoved" })
    })
    return Effect.raceFirst(Stream.runForEach(device.events, tell), Effect.asVoid(look))
  }

  /** Publishes events of the device; when it is lost, tries to reopen it. */
  keep(verbs: Provider): Effect.Effect<void, never, Scope.Scope> {
    const { reopenEveryMs, reopenWithinMs } = this.#wanted
    const { name } = this.device.info
    const reopen = Effect.delay(openDevice(verbs, name, this.#wanted), reopenEveryMs)
    const times = Math.max(0, Math.ceil(reopenWithinMs / reopenEveryMs) - 1)
    const untilReopened = Effect.gen({ self: this }, function* () {
      const { device, next, scope } = this.#current
      yield* this.#follow(device)
      const found = yield* Effect.retry(reopen, { times })
      yield* Scope.close(scope, Exit.void)
      this.#current = found
      Deferred.doneUnsafe(next, Effect.void)
      yield* Chaos.sometimes("a NIC was reopened")
    })
    return Effect.forever(untilReopened).pipe(
      Effect.catch(({ message }) =>
        Effect.logWarning(`${this.path} was not reopened within ${reopenWithinMs} ms: ${message}`)
      )
    )
  }
}

/** Opens a NIC, and keeps it until the Scope closes. */
export const open = Effect.fnUntraced(function* (
  verbs: Provider,
  name: string | undefined,
  wanted: Wanted
): Effect.fn.Return<ReopeningNic, DeviceOpenError | CreateError, Scope.Scope> {
  const device = yield* openDevice(verbs, name, wanted)
  const events = yield* PubSub.sliding<DeviceEvent>(behind)
  const nic = new ReopeningNic(wanted, verbs.capabilities.acknowledges, events, device)
  yield* Effect.forkScoped(nic.keep(verbs), { startImmediately: true })
  return nic
})
