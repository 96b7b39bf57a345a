/**
 * Goal: settings that would hang or loop are refused by their names when what they are of is made.
 * Method: engines, endpoints, callers and nodes with one wrong setting each.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as EndpointStore from "../../../src/actors/endpoint/EndpointStore.ts"
import * as HandshakeServer from "../../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as Nic from "../../../src/actors/rdma/Nic.ts"
import { type Settings, TransferNode } from "../../../src/actors/transfer/TransferNode.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { onHost } from "../endpoint/simHosts.ts"
import { pool } from "../endpoint/tcp.ts"
import { pair } from "./harness.ts"

/** What an effect is refused for. */
const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(Effect.scoped(effect)), (exit) =>
    Exit.isSuccess(exit) ? "nothing" : Cause.pretty(exit.cause).split("\n")[0]!
  )

const settings = {
  sliceBytes: [0, Number.NaN],
  quantum: [0],
  attempts: [0],
  firstWaitMs: [0, -1],
  stallAfterMs: [0],
  transfers: [0.5]
}

describe("what is refused", () => {
  for (const [setting, values] of Object.entries(settings)) {
    it.effect(`is ${setting} of an engine`, () =>
      Effect.gen(function* () {
        for (const value of values) {
          const text = yield* refusal(pair({ settings: { [setting]: value } }))
          assert.include(text, `${setting} is ${value}: it must be`)
        }
      })
    )
  }

  for (const setting of ["queuePairs", "depth", "readyWithinMs", "repeatAfterMs", "gidTries"]) {
    it.effect(`is ${setting} of endpoints`, () =>
      Effect.gen(function* () {
        const fabric = yield* SimFabric.make()
        const store = Effect.flatMap(Nic.open({ path: "a@sim0" }), (nic) =>
          EndpointStore.make({ nic, rules: { [setting]: 0 } })
        )
        const host = onHost(fabric, new SimHandshakes(), "a")
        const text = yield* refusal(Effect.provide(store, host))
        assert.include(text, `${setting} is 0`)
      })
    )
  }

  it.live("is what a caller or a server could not work with", () =>
    Effect.gen(function* () {
      const calls = yield* refusal(TcpHandshakes.calls({ callsPerServer: 0 }))
      assert.include(calls, "callsPerServer is 0")
      const server = yield* refusal(HandshakeServer.make({ port: 0, connections: 0 }))
      assert.include(server, "connections is 0")
    }).pipe(Effect.provide(pool))
  )

  const nodes: Record<string, readonly [Partial<Settings>, string]> = {
    "a NIC that is there twice": [{ nics: ["sim0", "sim0"] }, "sim0 is there twice"],
    "no NIC at all": [{ nics: [] }, "there is none"],
    "a host that is all addresses": [{ host: "0.0.0.0" }, "is no address by which a peer"],
    "no host": [{ host: "" }, "is no address by which a peer"]
  }
  for (const [name, [options, expected]] of Object.entries(nodes)) {
    it.live(`is ${name}`, () =>
      Effect.gen(function* () {
        const fabric = yield* SimFabric.make()
        const all = { host: "127.0.0.1", peers: [], handshake: { port: 0 }, ...options }
        const node = TransferNode.layer(all).pipe(
          Layer.provide([SimVerbs.layer(fabric), Journal.layerMemory])
        )
        assert.include(yield* refusal(Layer.build(node)), expected)
      })
    )
  }
})
