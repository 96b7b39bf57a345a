/** The device through which this machine reaches an address. */
import * as Effect from "effect/Effect"
import * as Gid from "../../schema/Gid.ts"
import { ControlQueue } from "./control.ts"
import { constants, offsets } from "./layout.ts"
import type { Libraries } from "./library.ts"
import { Manager } from "./manager.ts"
import type { Unsupported } from "../verbs/VerbsError.ts"
import type { Resolved } from "./settings.ts"
import { toNative } from "./socketAddress.ts"

const nameAt = (libraries: Libraries, id: number): string | undefined => {
  const context = libraries.pointerAt(id + offsets.rdma_cm_id.verbs)
  if (context === 0) return undefined
  const device = libraries.pointerAt(context + offsets.ibv_context.device)
  return libraries.textAt(device + offsets.ibv_device.name)
}

/** Asks the connection manager, which knows devices whose addresses are those of an interface. */
export const routeTo = (
  host: string,
  { resolveWithinMs }: Resolved,
  load: Effect.Effect<Libraries, Unsupported>
): Effect.Effect<string | undefined> =>
  Effect.gen(function* () {
    if (Gid.fromAddress(host) === undefined) return undefined
    const libraries = yield* load
    const control = new ControlQueue()
    const manager = yield* Effect.acquireRelease(
      control.run(async () => {
        const channel = await libraries.later("rdma_create_event_channel")
        return new Manager(libraries, control, channel)
      }),
      (manager) =>
        Effect.andThen(
          Effect.sync(() => manager.close()),
          control.idle
        )
    )
    const id = yield* control.run(async () => {
      const id = await manager.create()
      const to = toNative(libraries, { host, port: 1 }, 0)
      await libraries.later("rdma_resolve_addr", id.pointer, 0, to, resolveWithinMs)
      return id
    })
    const { type } = yield* id.next
    return type === constants.RDMA_CM_EVENT_ADDR_RESOLVED
      ? nameAt(libraries, id.pointer)
      : undefined
  }).pipe(
    Effect.scoped,
    Effect.orElseSucceed(() => undefined)
  )
