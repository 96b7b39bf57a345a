/** Opens one connection instance of a client: everything of it goes with its Scope. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Address } from "../../../native/verbs/Connection.ts"
import type { QueuePair } from "../../../native/verbs/QueuePair.ts"
import type { ConnectError, CreateError, ModifyError } from "../../../native/verbs/VerbsError.ts"
import * as ConnectionData from "../../../schema/rpc/ConnectionData.ts"
import type { Ground } from "./ground.ts"
import { MessagePort, type PortUser } from "./messagePort.ts"
import type { Buffers } from "./outgoing.ts"

/** Places of the queues of one connection instance. */
export interface Depths {
  readonly receives: number
  readonly sends: number
  /** Reads and writes of the peer's memory. */
  readonly transfers: number
  readonly inlineBytes: number
}

export interface Opened {
  readonly queuePair: QueuePair
  readonly port: MessagePort
}

/**
 * Makes a queue pair in `init` with buffers for its messages. When the Scope closes, nothing is
 * posted any more, all posted work is flushed and routed, then `closed` runs: the memory of work
 * is free only after that.
 */
export const openPort = Effect.fnUntraced(function* (
  { domain, router }: Pick<Ground, "domain" | "router">,
  depths: Depths,
  user: PortUser,
  closed: Effect.Effect<void> = Effect.void
): Effect.fn.Return<Opened, CreateError | ModifyError, Scope.Scope> {
  const buffers = Effect.fnUntraced(function* (count: number) {
    const bytes = depths.inlineBytes
    const region = yield* domain.register({ memory: count * bytes })
    return { region, bytes, count } satisfies Buffers
  })
  const receives = yield* buffers(depths.receives)
  const sends = yield* buffers(depths.sends)
  const queuePair = yield* domain.queuePair({
    sendCompletions: router.completions,
    sendDepth: depths.sends + depths.transfers,
    receiveDepth: depths.receives
  })
  yield* queuePair.modify({ to: "init", access: ["remote-read", "remote-write"] })
  const port = new MessagePort({ router, queuePair, receives, sends, user })
  yield* Effect.addFinalizer(() =>
    Effect.ignore(queuePair.modify({ to: "err" })).pipe(
      Effect.andThen(port.drained),
      Effect.andThen(closed)
    )
  )
  return { queuePair, port }
})

/** Parameters of connecting. */
export interface ConnectTerms {
  readonly to: Address
  readonly privateData: ConnectionData.ConnectionData
}

/** Connects a queue pair whose first Receives are posted. */
export const connect = (
  { device }: Pick<Ground, "device">,
  queuePair: QueuePair,
  { privateData, to }: ConnectTerms
): Effect.Effect<
  {
    readonly said: ConnectionData.ConnectionData
    readonly disconnected: Effect.Effect<string>
  },
  ConnectError,
  Scope.Scope
> =>
  device
    .connect({ to, queuePair, privateData: ConnectionData.encode(privateData), rnrRetries: 0 })
    .pipe(
      Effect.map(({ disconnected, privateData }) => ({
        said: ConnectionData.decode(privateData),
        disconnected
      }))
    )
