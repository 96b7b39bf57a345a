/**
 * Goal: a node sees what happens to its peers as they do, and no peer's trouble costs another link.
 * Method: servers of each kind on loopback, killed, stopped, continued, failed over and reset. Each
 * test ends with what hides no retry (`live`).
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SlotsView } from "../../../src/actors/bus/BusNode.ts"
import { type Bus, isConnected, joined, live, nodeTimeoutMs, replicaOf } from "./live.ts"
import { sees, stateOf } from "./live.ts"
import { eachKind, lineOf, until } from "./servers.ts"

/** Every view of the slots from now on, and the one now. */
const slotsSeen = Effect.fnUntraced(function* (bus: Bus) {
  const seen: Array<SlotsView> = []
  const collecting = Stream.runForEach(bus.slots, (view) => Effect.sync(() => void seen.push(view)))
  yield* Effect.forkScoped(collecting)
  yield* until(Effect.sync(() => seen.length > 0))
  return seen
})

const ownersOf = ({ slots }: SlotsView) => slots.map(({ id, slots: [from, to] }) => [from, to, id])

eachKind("a member whose peers are in trouble, in a cluster", (kind) => {
  it.live(
    "suspects a node that was killed, and connects to it when it is back",
    () =>
      live({ kind }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const [first] = servers
          yield* first!.kill
          const suspects = Effect.map(bus.health, ({ suspected }) => suspected)
          // The others may call it failed first.
          yield* until(
            Effect.map(stateOf(bus, first!.id), (state) => /suspected|failed/.test(state ?? ""))
          )
          yield* first!.restart
          yield* joined(servers, bus)
          assert.deepStrictEqual(yield* suspects, [])
          return { renewed: [first!] }
        })
      ),
    90_000
  )

  it.live(
    "G1: sees one that stands still fail, votes for nothing, and connects when it goes on",
    () =>
      live({ kind, isTapped: true }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const [stopped] = servers
          yield* stopped!.signal("SIGSTOP")
          yield* sees(bus, stopped!.id, "failed")
          yield* stopped!.signal("SIGCONT")
          yield* sees(bus, stopped!.id, "connected")
          return { renewed: [stopped!] }
        })
      ),
    90_000
  )

  it.live(
    "G14: sees a failover as one change of slots, also when the old primary is back",
    () =>
      live({ kind, isTapped: true }, ({ bus, servers }) =>
        Effect.gen(function* () {
          const [primary, second, third] = servers
          const replica = yield* replicaOf(primary!)
          servers.push(replica)
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
          const isReplica = Effect.map(
            lineOf(second!, primary!.id),
            (line) => line?.flags === "slave"
          )
          yield* until(isReplica)
          yield* sees(bus, primary!.id, "connected")
          // A claim of the old primary would come with its next PING.
          yield* Effect.sleep(nodeTimeoutMs)
          const moved = owners.map(([from, to, id]) => [
            from,
            to,
            id === primary!.id ? replica.id : id
          ])
          assert.deepStrictEqual(seen.slice(1).map(ownersOf), [moved])
          return { renewed: [primary!] }
        })
      ),
    120_000
  )

  it.live(
    "G12: does not take a peer that was reset for the old one, and takes it in by its new id",
    () =>
      live({ kind }, (test) =>
        Effect.gen(function* () {
          const { bus, servers } = test
          const [first, , reset] = servers
          yield* reset!.ask("cluster", "reset", "hard")
          const id = (yield* reset!.ask("cluster", "myid")).trim()
          assert.notStrictEqual(id, reset!.id)
          yield* until(
            Effect.map(stateOf(bus, reset!.id), (state) => /suspected|failed/.test(state ?? ""))
          )
          assert.isUndefined(yield* stateOf(bus, id))
          yield* first!.ask("cluster", "meet", "127.0.0.1", `${reset!.port}`, `${reset!.busPort}`)
          yield* sees(bus, id, "connected")
          assert.isUndefined((yield* bus.health).sameIdAt)
          const renamed = { ...reset!, id }
          servers[2] = renamed
          return { renewed: [renamed], hadStranger: true }
        })
      ),
    90_000
  )
})
