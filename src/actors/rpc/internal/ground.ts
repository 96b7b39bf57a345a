/**
 * A device with what all connections of a client or a server share. All of it is lost with the
 * device, and made anew for the next connection once the device is there again.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Device, ProtectionDomain } from "../../../native/verbs/Device.ts"
import type { CreateError, DeviceOpenError } from "../../../native/verbs/VerbsError.ts"
import { CompletionRouter } from "../../rdma/CompletionRouter.ts"
import { type PoolShare, RegionPool } from "../../rdma/RegionPool.ts"

export interface Ground {
  readonly device: Device
  readonly domain: ProtectionDomain
  readonly router: CompletionRouter
  /** Memory for chunks. */
  readonly pool: RegionPool
  /** All of the memory, for a client: it has one connection at a time. */
  readonly share: PoolShare
}

export type GroundError = DeviceOpenError | CreateError

export interface GroundSettings {
  /** Places of the completion queue. */
  readonly completions: number
  readonly memoryBytes: number
}

interface Open {
  readonly ground: Ground
  readonly scope: Scope.Closeable
  /** Done when there is another one, or none any more. */
  readonly isOver: Deferred.Deferred<void>
}

const prepare = Effect.fnUntraced(function* (
  open: Effect.Effect<Device, DeviceOpenError, Scope.Scope>,
  { completions, memoryBytes }: GroundSettings
): Effect.fn.Return<Ground, GroundError, Scope.Scope> {
  const device = yield* open
  const domain = yield* device.protectionDomain
  const router = new CompletionRouter(yield* device.completionQueue(completions))
  yield* Effect.forkScoped(Effect.ignore(router.run))
  const pool = yield* RegionPool.make(domain, { maxBytes: memoryBytes })
  return { device, domain, router, pool, share: pool.share() }
})

/** A ground that is replaced when its device was lost. */
export class ReopeningGround {
  readonly #open: Effect.Effect<Open, GroundError>
  #current: Open

  constructor(open: Effect.Effect<Open, GroundError>, current: Open) {
    this.#open = open
    this.#current = current
  }

  /** Opens a device, and keeps it until the Scope closes. */
  static readonly make = Effect.fnUntraced(function* (
    device: Effect.Effect<Device, DeviceOpenError, Scope.Scope>,
    settings: GroundSettings
  ): Effect.fn.Return<ReopeningGround, GroundError, Scope.Scope> {
    const parent = yield* Effect.scope
    const open = Effect.gen(function* () {
      const scope = yield* Scope.fork(parent)
      const ground = yield* prepare(device, settings).pipe(
        Scope.provide(scope),
        Effect.onError(() => Scope.close(scope, Exit.void))
      )
      return { ground, scope, isOver: Deferred.makeUnsafe<void>() }
    })
    const reopening = new ReopeningGround(open, yield* open)
    yield* Effect.addFinalizer(() => Deferred.succeed(reopening.#current.isOver, undefined))
    return reopening
  })

  /** The ground that was opened last; its device may be lost. */
  get last(): Ground {
    return this.#current.ground
  }

  /** Waits until a ground is not the last one any more, or the Scope closes. */
  replaced(ground: Ground): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { ground: last, isOver } = this.#current
      return last === ground ? Deferred.await(isOver) : Effect.void
    })
  }

  /** A ground whose device is there. Fails if the device was lost and is not there again. */
  get usable(): Effect.Effect<Ground, GroundError> {
    return Effect.uninterruptible(
      Effect.flatMap(Effect.exit(this.last.device.port()), (port) =>
        Exit.isSuccess(port) ? Effect.succeed(this.last) : this.#replace
      )
    )
  }

  readonly #replace: Effect.Effect<Ground, GroundError> = Effect.suspend(() =>
    Effect.flatMap(this.#open, (found) => {
      const { isOver, scope } = this.#current
      this.#current = found
      Deferred.doneUnsafe(isOver, Effect.void)
      return Effect.as(Scope.close(scope, Exit.void), found.ground)
    })
  )
}
