/** Makes a card ready for work: when the engine begins, and when the device was opened anew. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CreateError } from "../../../native/verbs/VerbsError.ts"
import type { RegisteredMemory } from "../../rdma/Memory.ts"
import type { Core } from "./core.ts"
import type { Pump } from "./nicScheduler.ts"

/** What a pump needs of its device. */
export const prepare = Effect.fnUntraced(function* (
  pump: Pump
): Effect.fn.Return<void, CreateError, Scope.Scope> {
  const { nic } = pump
  if (!nic.acknowledges) pump.scratch = yield* nic.domain.register({ memory: 1 })
  yield* locate(pump)
})

const locate = (pump: Pump): Effect.Effect<void> =>
  Effect.match(pump.nic.place, {
    onSuccess: (place) => void (pump.place = place),
    onFailure: () => undefined
  })

/** Keeps what peers are told of a card: its GID can change. */
export const follow = (pump: Pump): Effect.Effect<void> =>
  Stream.runForEach(pump.nic.events, () => locate(pump))

/** Registers all memory on the new device, and only then lets work come. */
export const renew = Effect.fnUntraced(
  function* (
    pump: Pump,
    memories: ReadonlyMap<string, RegisteredMemory>,
    peers: Core["peers"]
  ): Effect.fn.Return<void, CreateError, Scope.Scope> {
    yield* prepare(pump)
    for (const memory of memories.values()) yield* memory.renew(pump.index)
    pump.isGone = false
    for (const { ways } of peers.values()) ways.feed()
  },
  (renewed, { nic }) =>
    Effect.catch(renewed, (error) => Effect.logWarning(`${nic.path} is of no use`, error))
)
