/**
 * An `ioredis` client that follows a failover at once: a member of the cluster's bus tells it each
 * change of topology. By itself it learns of one from an error, and a server that stands still
 * gives none: what was sent there waits. `node examples/topology.ts HOST:PORT` follows a cluster;
 * the address is that of a node's bus.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Cluster } from "ioredis"
import { BusNode, type MembersView, type SlotsView } from "../src/actors/bus/BusNode.ts"
import { IoPool } from "../src/native/io/IoPool.ts"

type Node = readonly [ip: string, port: number, id: string]
type Range = readonly [first: number, last: number, ...nodes: ReadonlyArray<Node>]

/** The topology as CLUSTER SLOTS says it: for each range of slots its owner, then its replicas. */
const slotsReply = ({ members }: MembersView, { slots }: SlotsView): ReadonlyArray<Range> => {
  const isUp = (state: string) => state === "connected" || state === "connecting"
  const serving = members.filter(({ clientPort }) => clientPort > 0)
  const nodeOf = ({ clientPort, id, ip }: (typeof serving)[number]): Node => [ip, clientPort, id]
  return slots.flatMap(({ id, slots: [first, last] }): ReadonlyArray<Range> => {
    const owner = serving.find((member) => member.id === id)
    const replicas = serving.filter(({ primary, state }) => primary === id && isUp(state))
    return owner === undefined ? [] : [[first, last, nodeOf(owner), ...replicas.map(nodeOf)]]
  })
}

type Answer = (error: Error | null, reply: ReadonlyArray<Range>) => void

/**
 * Gives a client a topology as if a server had answered its CLUSTER SLOTS. It then sends what waits
 * for a server that is not listed any more to the one that took its slots.
 */
const push = (client: Cluster, reply: ReadonlyArray<Range>): void => {
  const connection = {
    on: () => {},
    disconnect: () => {},
    cluster: (_: "SLOTS", answer: Answer) => answer(null, reply)
  }
  client["getInfoFromNode"]({ duplicate: () => connection, options: {} }, () => {})
}

/** Tells a client the topology now and each time it changes, as long as this runs. */
export const follow = (client: Cluster): Effect.Effect<void, never, BusNode> =>
  Effect.flatMap(BusNode, (bus) =>
    Stream.zipLatestWith(bus.members, bus.slots, slotsReply).pipe(
      Stream.filter((reply) => reply.length > 0),
      Stream.changesWith((a, b) => JSON.stringify(a) === JSON.stringify(b)),
      Stream.runForEach((reply) => Effect.sync(() => push(client, reply)))
    )
  )

const program = (address: string) =>
  Effect.gen(function* () {
    const bus = yield* BusNode
    yield* bus.meet(address)
    const [{ members }] = (yield* Stream.runCollect(Stream.take(bus.members, 1))) as [MembersView]
    const seeds = members.map(({ clientPort: port, ip: host }) => ({ host, port }))
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Cluster(seeds)),
      (client) => Effect.sync(() => client.disconnect())
    )
    yield* Effect.forkScoped(follow(client))
    const write = Effect.promise(() => client.set("topology", new Date().toISOString()))
    const writing = Effect.andThen(Effect.flatMap(write, Console.log), Effect.sleep(1_000))
    return yield* Effect.forever(writing)
  })

if (import.meta.main && process.argv[2] !== undefined) {
  const node = BusNode.layerEphemeral().pipe(Layer.provide(IoPool.layer({ workers: 1 })))
  await Effect.runPromise(program(process.argv[2]).pipe(Effect.scoped, Effect.provide(node)))
}
