/**
 * Goal: the client of `examples/topology.ts` follows a failover that it would not notice by itself.
 * Method: a primary of a live cluster stands still while a write for it is under way, and its
 * replica takes over. A client without the bus is the twin: its write still waits.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Cluster } from "ioredis"
import { follow } from "../../../examples/topology.ts"
import { BusNode } from "../../../src/actors/bus/BusNode.ts"
import { slotOf } from "../../../src/schema/bus/Slots.ts"
import { isConnected, live, replicaOf, sees } from "./live.ts"
import { eachKind, type Server, until } from "./servers.ts"

const key = "topology"

/** A client of the cluster that is ready, and ends with the Scope. */
const clientOf = ({ port }: Server): Effect.Effect<Cluster, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Cluster>((resume) => {
      const client = new Cluster([{ host: "127.0.0.1", port }])
      client.on("error", () => {})
      client.once("ready", () => resume(Effect.succeed(client)))
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

/** A write, and whether it has ended. */
const write = (client: Cluster) => {
  const state = { isDone: false }
  client.set(key, "x").then(
    () => (state.isDone = true),
    () => {}
  )
  return state
}

eachKind("a client that is told of topology by a member of a cluster", (kind) => {
  it.live(
    "follows a failover from a primary that stands still, and one by itself does not",
    () =>
      live({ kind }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const primary = servers[Math.floor((3 * slotOf(Buffer.from(key))) / 16_384)]!
          const replica = yield* replicaOf(primary)
          servers.push(replica)
          yield* until(isConnected(replica, bus))
          yield* sees(bus, replica.id, "connected")
          const seed = servers.find((server) => server !== primary)!
          const [told, alone] = [yield* clientOf(seed), yield* clientOf(seed)]
          yield* Effect.forkScoped(Effect.provideService(follow(told), BusNode, bus))
          yield* Effect.promise(() => Promise.all([told.set(key, "a"), alone.set(key, "b")]))
          yield* primary.signal("SIGSTOP")
          const writes = [write(told), write(alone)] as const
          yield* until(Effect.sync(() => writes[0].isDone))
          assert.strictEqual(writes[1].isDone, false)
          assert.strictEqual((yield* replica.ask("get", key)).trim(), "x")
          yield* primary.signal("SIGCONT")
          yield* sees(bus, primary.id, "connected")
          return { renewed: [primary] }
        })
      ),
    120_000
  )
})
