/**
 * An own card over its lives. A device may be pulled out with all that was made on it, and come
 * back under its name: then it is opened anew, and everybody who asks the card for its device gets
 * the new one. What was made on the old one is gone for good.
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
import type { Nic, Place } from "../Nic.ts"
import { inOrder } from "./gidSelection.ts"

/** How a card is opened, and looked for. */
export interface Wanted {
  readonly path: string
  readonly reach: Reach
  readonly completions: number
  readonly gidIndex: number | undefined
  readonly reopenEveryMs: number
  readonly reopenWithinMs: number
}

/** What is made when a device is opened. */
interface Life {
  readonly scope: Scope.Closeable
  readonly device: Device
  readonly domain: ProtectionDomain
  readonly completions: CompletionQueue
  /** Done when the next life has begun. */
  readonly next: Deferred.Deferred<void>
}

/** Events that a reader may be behind, as of a device. */
const behind = 1_024
/** Milliseconds after which a device's events are being read: a turn or two of the scheduler. */
const untilRead = 1

/** Begins a life in a Scope of its own, which ends with this one. */
const begin = Effect.fnUntraced(function* (
  verbs: Provider,
  name: string | undefined,
  { completions, reach }: Wanted
): Effect.fn.Return<Life, DeviceOpenError | CreateError, Scope.Scope> {
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

class Card implements Nic {
  readonly path: string
  readonly acknowledges: boolean
  readonly events: Stream.Stream<DeviceEvent>
  readonly place: Effect.Effect<Place, CreateError>
  readonly #wanted: Wanted
  readonly #told: PubSub.PubSub<DeviceEvent>
  #life: Life

  constructor(wanted: Wanted, acknowledges: boolean, told: PubSub.PubSub<DeviceEvent>, life: Life) {
    this.path = wanted.path
    this.acknowledges = acknowledges
    this.events = Stream.fromPubSub(told)
    this.place = Effect.suspend(() => this.placeWithout([]))
    this.#wanted = wanted
    this.#told = told
    this.#life = life
  }

  get device(): Device {
    return this.#life.device
  }

  get domain(): ProtectionDomain {
    return this.#life.domain
  }

  get completions(): CompletionQueue {
    return this.#life.completions
  }

  get returned(): Effect.Effect<void> {
    return Deferred.await(this.#life.next)
  }

  placeWithout(refused: ReadonlyArray<Gid.Gid>): Effect.Effect<Place, CreateError> {
    return placeOf(this.device, this.#wanted.gidIndex, refused)
  }

  /** Passes on what happens to a device, until that has gone. */
  #follow(device: Device): Effect.Effect<void> {
    const tell = (event: DeviceEvent) => PubSub.publish(this.#told, event)
    // Before its events are read, it can go unnoticed. So it is looked at once after that.
    const look = Effect.matchEffect(Effect.delay(device.port(), untilRead), {
      onSuccess: () => Effect.never,
      onFailure: () => tell({ _tag: "DeviceRemoved" })
    })
    return Effect.raceFirst(Stream.runForEach(device.events, tell), Effect.asVoid(look))
  }

  /** Passes on what happens to the device, and when that has gone, looks for it. */
  keep(verbs: Provider): Effect.Effect<void, never, Scope.Scope> {
    const { reopenEveryMs, reopenWithinMs } = this.#wanted
    const { name } = this.device.info
    const look = Effect.delay(begin(verbs, name, this.#wanted), reopenEveryMs)
    const times = Math.max(0, Math.ceil(reopenWithinMs / reopenEveryMs) - 1)
    const life = Effect.gen({ self: this }, function* () {
      const { device, next, scope } = this.#life
      yield* this.#follow(device)
      const found = yield* Effect.retry(look, { times })
      yield* Scope.close(scope, Exit.void)
      this.#life = found
      Deferred.doneUnsafe(next, Effect.void)
      yield* Chaos.sometimes("a card came back")
    })
    return Effect.forever(life).pipe(
      Effect.catch(({ message }) =>
        Effect.logWarning(`${this.path} was looked for ${reopenWithinMs} ms: ${message}`)
      )
    )
  }
}

/** Opens a card, and keeps it until the Scope closes. */
export const open = Effect.fnUntraced(function* (
  verbs: Provider,
  name: string | undefined,
  wanted: Wanted
): Effect.fn.Return<Nic, DeviceOpenError | CreateError, Scope.Scope> {
  const life = yield* begin(verbs, name, wanted)
  const told = yield* PubSub.sliding<DeviceEvent>(behind)
  const card = new Card(wanted, verbs.capabilities.acknowledges, told, life)
  yield* Effect.forkScoped(card.keep(verbs), { startImmediately: true })
  return card
})
