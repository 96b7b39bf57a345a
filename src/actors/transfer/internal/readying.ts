/** Prepares a NIC for work: when the engine begins, and when its device was reopened. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import type { NicScheduler } from "./nicScheduler.ts"

/** Creates the resources that a scheduler needs of its device. */
export const prepare = Effect.fnUntraced(function* (
  scheduler: NicScheduler
): Effect.fn.Return<void, CreateError, Scope.Scope> {
  const { nic } = scheduler
  if (!nic.acknowledges) scheduler.scratch = yield* nic.domain.register({ memory: 1 })
  yield* locate(scheduler)
})

const locate = (scheduler: NicScheduler): Effect.Effect<void> =>
  Effect.match(scheduler.nic.place, {
    onSuccess: (place) => void (scheduler.place = place),
    onFailure: () => undefined
  })

/** Keeps the address that peers get up to date, because a GID can change. */
export const follow = (scheduler: NicScheduler): Effect.Effect<void> =>
  Stream.runForEach(scheduler.nic.events, () => locate(scheduler))

/** Registers all memory on the new device, and only then dispatches work to it. */
export const renew = Effect.fnUntraced(
  function* (
    scheduler: NicScheduler,
    memories: ReadonlyMap<string, RegisteredMemory>,
    dispatch: () => void
  ): Effect.fn.Return<void, CreateError, Scope.Scope> {
    yield* prepare(scheduler)
    for (const memory of memories.values()) yield* memory.renew(scheduler.index)
    scheduler.isGone = false
    dispatch()
  },
  (renewed, { nic }) =>
    Effect.catch(renewed, (error) => Effect.logWarning(`${nic.path} cannot be used`, error))
)
