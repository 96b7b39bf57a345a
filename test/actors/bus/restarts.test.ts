/**
 * Goal: a node that was ended is back as the same member, and one that was removed stays away.
 * Method: servers of each kind on loopback; the node is started again with nothing but its journal,
 * and told to be forgotten by CLUSTER FORGET. Each test ends with what hides no retry (`live`).
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { wideOr } from "../../wide.ts"
import { isConnected, live, nodeTimeoutMs, stateOf } from "./live.ts"
import { eachKind, freePort, lineOf, until } from "./servers.ts"

eachKind("a member that is started again, in a cluster", (kind) => {
  it.live(
    "is the same node on the same port, by its journal alone",
    () =>
      live({ kind }, (test) =>
        Effect.gen(function* () {
          const { address, id } = test.bus
          // The servers notice that it is gone.
          const isMissed = Effect.map(
            lineOf(test.servers[0]!, id),
            (line) => line?.link === "disconnected"
          )
          yield* test.restart({}, until(isMissed))
          assert.deepStrictEqual([test.bus.id, test.bus.address], [id, address])
        })
      ),
    90_000
  )

  it.live(
    "D25: is the same node on another port, by its journal alone",
    () =>
      live({ kind }, (test) =>
        Effect.gen(function* () {
          const { address, id } = test.bus
          yield* test.restart({ listen: { port: yield* freePort } })
          assert.strictEqual(test.bus.id, id)
          assert.notStrictEqual(test.bus.address, address)
          for (const server of test.servers) {
            const line = yield* lineOf(server, id)
            assert.include(line!.address, `@${test.bus.address.split(":")[1]}`)
          }
        })
      ),
    90_000
  )
})

eachKind("a member that is forgotten, in a cluster", (kind) => {
  it.live(
    "G11: by every node stays away",
    () =>
      live({ kind }, ({ bus, servers }) =>
        Effect.gen(function* () {
          for (const server of servers) yield* server.ask("cluster", "forget", bus.id)
          yield* until(Effect.map(bus.health, ({ state }) => state === "removed"))
          return { isRemoved: true }
        })
      ),
    90_000
  )

  describe.runIf(kind.tellsForget)("by one node", () => {
    it.live(
      "G11: is forgotten by all of a kind that tells it, and stays away",
      () =>
        live({ kind }, ({ bus, servers }) =>
          Effect.gen(function* () {
            yield* servers[0]!.ask("cluster", "forget", bus.id)
            yield* until(Effect.map(bus.health, ({ state }) => state === "removed"))
            return { isRemoved: true }
          })
        ),
      90_000
    )
  })

  // The servers take back no node that they have forgotten before a minute is over.
  describe.runIf(!kind.tellsForget && wideOr(1, 0) === 1)("by one node", () => {
    it.live(
      "G11: is back at that node when its minute is over, as the others still list it",
      () =>
        live({ kind }, ({ bus, servers }) =>
          Effect.gen(function* () {
            const [first] = servers
            yield* first!.ask("cluster", "forget", bus.id)
            assert.isUndefined(yield* lineOf(first!, bus.id))
            yield* Effect.sleep(2 * nodeTimeoutMs)
            assert.strictEqual((yield* bus.health).state, "joined")
            yield* until(isConnected(first!, bus))
            yield* until(Effect.map(stateOf(bus, first!.id), (state) => state === "connected"))
            return { renewed: [first!] }
          })
        ),
      150_000
    )
  })
})
