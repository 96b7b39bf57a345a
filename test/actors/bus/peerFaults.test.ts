/**
 * Goal: a node sees what happens to its peers as they do, and no peer's trouble costs another link.
 * Method: redis-server on loopback, stopped, continued, failed over and reset.
 */
import * as net from "node:net"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { MemberView, SlotsView } from "../../../src/actors/bus/BusNode.ts"
import { slotOf } from "../../../src/schema/bus/Slots.ts"
import { peer } from "../../peers.ts"
import { type Bus, isConnected, joined, joinedCluster, linksOf, live } from "./liveMember.ts"
import { nodeTimeoutMs } from "./liveMember.ts"
import { lineOf, type RedisServer, server, until } from "./redisServers.ts"

const stateOf = (bus: Bus, id: string): Effect.Effect<MemberView["state"] | undefined> =>
  Effect.map(Stream.runCollect(Stream.take(bus.members, 1)), ([view]) => {
    return view!.members.find((member) => member.id === id)?.state
  })

/** Waits until a node sees a member in a state. */
const sees = (bus: Bus, id: string, state: MemberView["state"]) =>
  until(Effect.map(stateOf(bus, id), (seen) => seen === state))

/** A new server as the replica of another one. */
const replicaOf = Effect.fnUntraced(function* (primary: RedisServer) {
  const replica = yield* server({ timeoutMs: nodeTimeoutMs })
  yield* replica.ask("cluster", "meet", "127.0.0.1", `${primary.port}`, `${primary.busPort}`)
  const replicate = replica.ask("cluster", "replicate", primary.id)
  yield* until(Effect.map(replicate, (answer) => answer.startsWith("OK")))
  const state = replica.ask("role")
  yield* until(Effect.map(state, (text) => /slave[^]*connected/.test(text)))
  return replica
})

/** Every view of the slots from now on, and the one now. */
const slotsSeen = Effect.fnUntraced(function* (bus: Bus) {
  const seen: Array<SlotsView> = []
  const collecting = Stream.runForEach(bus.slots, (view) => Effect.sync(() => void seen.push(view)))
  yield* Effect.forkScoped(collecting)
  yield* until(Effect.sync(() => seen.length > 0))
  return seen
})

const ownersOf = ({ slots }: SlotsView) => slots.map(({ id, slots: [from, to] }) => [from, to, id])

/** What a server pushes to a client that has subscribed to a channel of a shard. */
const subscribed = (port: number, channel: string) =>
  Effect.acquireRelease(
    Effect.callback<{ text: string; socket: net.Socket }>((resume) => {
      const socket = net.connect(port, "127.0.0.1", () => socket.write(`SSUBSCRIBE ${channel}\r\n`))
      const client = { text: "", socket }
      socket.setEncoding("latin1").on("data", (part: string) => {
        client.text += part
        resume(Effect.succeed(client))
      })
    }),
    ({ socket }) => Effect.sync(() => void socket.destroy())
  )

peer("redis-server", "a member whose peers are in trouble", () => {
  it.live(
    "sees one that stands still fail, and connects to it when it goes on",
    () =>
      live(
        Effect.gen(function* () {
          const { bus, servers } = yield* joinedCluster()
          const [stopped, ...others] = servers
          const before = yield* Effect.forEach(others, (server) => linksOf(server, bus))
          yield* stopped!.signal("SIGSTOP")
          yield* sees(bus, stopped!.id, "failed")
          yield* stopped!.signal("SIGCONT")
          yield* joined(servers, bus)
          yield* sees(bus, stopped!.id, "connected")
          assert.deepStrictEqual(
            yield* Effect.forEach(others, (server) => linksOf(server, bus)),
            before
          )
        })
      ),
    90_000
  )

  it.live(
    "G14: sees a failover as one change of slots, also when the old primary is back",
    () =>
      live(
        Effect.gen(function* () {
          const { bus, servers } = yield* joinedCluster()
          const [primary, second, third] = servers
          const replica = yield* replicaOf(primary!)
          yield* until(isConnected(replica, bus))
          yield* sees(bus, replica.id, "connected")
          const seen = yield* slotsSeen(bus)
          const owners = ownersOf(seen[0]!)
          assert.deepStrictEqual(
            owners.map(([, , id]) => id),
            [primary!.id, second!.id, third!.id]
          )
          yield* primary!.signal("SIGSTOP")
          yield* until(Effect.sync(() => seen.length > 1))
          yield* primary!.signal("SIGCONT")
          const back = Effect.map(lineOf(second!, primary!.id), (line) => line?.flags === "slave")
          yield* until(back)
          yield* sees(bus, primary!.id, "connected")
          // A claim of the old primary would come with its next PING.
          yield* Effect.sleep(nodeTimeoutMs)
          const moved = owners.map(([from, to, id]) => [
            from,
            to,
            id === primary!.id ? replica.id : id
          ])
          assert.deepStrictEqual(seen.slice(1).map(ownersOf), [moved])
        })
      ),
    120_000
  )

  it.live(
    "G12: does not take a peer that was reset for the old one, and takes it in by its new id",
    () =>
      live(
        Effect.gen(function* () {
          const { bus, servers } = yield* joinedCluster()
          const [first, second, reset] = servers
          const others = [first!, second!]
          const before = yield* Effect.forEach(others, (server) => linksOf(server, bus))
          yield* reset!.ask("cluster", "reset", "hard")
          const id = (yield* reset!.ask("cluster", "myid")).trim()
          assert.notStrictEqual(id, reset!.id)
          yield* until(
            Effect.map(stateOf(bus, reset!.id), (state) => /suspected|failed/.test(state ?? ""))
          )
          assert.isUndefined(yield* stateOf(bus, id))
          yield* first!.ask("cluster", "meet", "127.0.0.1", `${reset!.port}`, `${reset!.busPort}`)
          yield* sees(bus, id, "connected")
          assert.strictEqual(yield* Effect.map(bus.health, ({ sameIdAt }) => sameIdAt), undefined)
          assert.deepStrictEqual(
            yield* Effect.forEach(others, (server) => linksOf(server, bus)),
            before
          )
        })
      ),
    90_000
  )
})

peer("redis-server", "a publication on a channel of a shard", () => {
  it.live(
    "reaches a client at the server that serves the channel's slot",
    () =>
      live(
        Effect.gen(function* () {
          const { bus, servers } = yield* joinedCluster()
          const owner = servers[Math.floor((3 * slotOf(Buffer.from("news"))) / 16_384)]!
          const client = yield* subscribed(owner.port, "news")
          yield* until(Effect.map(stateOf(bus, owner.id), (state) => state === "connected"))
          const { taken } = yield* bus.publishShard("news", "hello")
          assert.strictEqual(taken, 1)
          yield* until(
            Effect.sync(() => /smessage\r\n\$4\r\nnews\r\n\$5\r\nhello/.test(client.text))
          )
        })
      ),
    60_000
  )
})
