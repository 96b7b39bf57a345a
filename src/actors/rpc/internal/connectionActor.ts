/** The actor of a client's connection: it decides about epochs, its effects open and end them. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import { type ConnectionData, thresholds } from "../../../schema/rpc/ConnectionData.ts"
import type * as Actor from "../../kernel/Actor.ts"
import * as Behavior from "../../kernel/Behavior.ts"
import * as Decision from "../../kernel/Decision.ts"
import type { Backoff } from "../../link/Backoff.ts"
import {
  Began,
  ConnectionEvent,
  type ConnectionState,
  decide,
  type EndReason,
  evolve,
  initial,
  type Signal
} from "../ConnectionState.ts"
import { type ClientSettings, depthsOf } from "./clientSettings.ts"
import { connect, openPort } from "./epoch.ts"
import type { ReopeningGround } from "./ground.ts"
import type { Thresholds } from "./planning.ts"
import type { Parts } from "./parts.ts"
import type { Requester } from "./requester.ts"
import type { Surroundings } from "./surroundings.ts"

/** Shared by the actor and the calls of its client. */
export interface Hub {
  readonly ground: ReopeningGround
  readonly settings: ClientSettings
  readonly around: Surroundings
  readonly parts: Parts
  readonly backoff: Backoff
  /** Connection data of this side. */
  readonly said: ConnectionData
  /** The data path of the connection instance that there is. */
  requester: Requester | undefined
  thresholds: Thresholds
}

/** Ends the connection; the next one begins after a pause. */
const Reconnect = Rpc.make("Reconnect")

type Self = Behavior.Self<ConnectionState, typeof Reconnect, Signal>

const reasonOf = (error: { readonly _tag: string }): EndReason =>
  error._tag === "ConnectRejected"
    ? "rejected"
    : error._tag === "Unreachable" || error._tag === "TimeoutError"
      ? "unreachable"
      : "failed"

/** Looks at the deadlines of calls when the next one is due. */
const watch = (hub: Hub, requester: Requester): Effect.Effect<never> =>
  Effect.suspend(() => {
    const next = requester.look()
    return Effect.sleep(Math.max(1, next - hub.around.now()))
  }).pipe(Effect.forever)

/** One connection instance, from its queue pair to its end. */
const live = Effect.fnUntraced(function* (hub: Hub, self: Self) {
  const { around, parts, said, settings } = hub
  const ground = yield* hub.ground.usable
  const requester = parts.requester(around)
  const closed = Effect.sync(() => {
    if (hub.requester === requester) hub.requester = undefined
    requester.close()
  })
  const { port, queuePair } = yield* openPort(ground, depthsOf(settings), requester, closed)
  if (!requester.attach(port)) return yield* self.signal.Lost(noReceives)
  const { disconnected, said: peer } = yield* connect(ground, queuePair, {
    to: settings.to,
    privateData: said
  }).pipe(Effect.timeout(settings.connectWithinMs))
  yield* self.signal.Connected()
  hub.requester = requester
  hub.thresholds = thresholds(said, peer)
  requester.established(hub.thresholds, peer.extension, self.epoch)
  yield* Effect.forkScoped(watch(hub, requester))
  yield* Effect.forkScoped(Effect.andThen(Deferred.await(requester.proved), self.signal.Answered()))
  const detail = yield* Effect.raceFirst(Deferred.await(requester.ended), disconnected)
  return yield* self.signal.Lost({ reason: "disconnected", detail })
})

const noReceives = { reason: "failed", detail: "the first Receives were not accepted" } as const

/** Whatever goes wrong in a connection instance, a defect included, ends this one only. */
const contained = (hub: Hub, self: Self) =>
  live(hub, self).pipe(
    Effect.catch((error) =>
      self.signal.Lost({ reason: reasonOf(error), detail: String(error.message) })
    ),
    Effect.catchDefect((defect) =>
      self.signal.Lost({ reason: "failed", detail: `defect: ${String(defect)}` })
    )
  )

/** The behavior of a client's connection. */
export const make = (hub: Hub) =>
  Behavior.make("RpcConnection", {
    commands: [Reconnect],
    signals: Behavior.signals<Signal>(),
    events: ConnectionEvent,
    initial,
    history: "none",
    epoch: ({ epoch }: ConnectionState) => epoch,
    decide,
    evolve,
    react: {
      Began: (_, self) => contained(hub, self),
      Proved: () => Effect.sync(() => hub.backoff.proven()),
      Ended: ({ detail, reason }, self) =>
        Effect.suspend(() => Effect.sleep(hub.backoff.next(2))).pipe(
          Effect.andThen(self.signal.Paused()),
          Effect.annotateLogs({ reason, detail })
        )
    },
    reconcile: (_, _recovery, { fresh }) => Decision.persist(new Began({ epoch: fresh() }))
  })

export type ConnectionActor = Actor.Of<ReturnType<typeof make>>
