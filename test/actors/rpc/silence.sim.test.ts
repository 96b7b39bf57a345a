/**
 * Goal: a peer that has vanished without a word is noticed by either side although nothing is under
 * way, within named limits, and holds nothing for ever.
 * Method: processes on a simulated fabric that are paused or killed while their connection is idle,
 * with exact timers. The twins are idle peers that live.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeProgram, program } from "./world.ts"

const settings = { seeds: 3, timerSlack: 0 } as const

/** A server in a process, and a client whose phases are recorded. */
const serverApart = Effect.fnUntraced(function* (options: Partial<RpcClient.ClientOptions> = {}) {
  const fabric = yield* SimFabric.make()
  const { executions, served } = makeProgram()
  const serving = Effect.andThen(
    RpcServer.make({ programs: [served], open: true, host: "*", port: 20_049 }),
    Effect.never
  )
  const host = SimVerbs.layer(fabric, { host: "server" })
  const server = yield* Sim.process("server", Effect.provide(serving, host))
  yield* Effect.sleep("1 millis")
  const to = { host: "10.0.0.1", port: 20_049 }
  const client = yield* Effect.provide(
    RpcClient.make({ program, version: 1, to, ...options }),
    SimVerbs.layer(fabric, { host: "client" })
  )
  const phases: Array<string> = []
  yield* client.states.pipe(
    Stream.runForEach(({ _tag }) => Effect.sync(() => void phases.push(_tag))),
    Effect.forkScoped({ startImmediately: true })
  )
  return { client, executions, fabric, phases, server }
})

describe("an idle client", () => {
  const limits = { keepAliveAfterMs: 1_000, probeWithinMs: 200 }

  it.sim("G9: notices that its server is mute, within two limits", settings, () =>
    Effect.gen(function* () {
      const { client, phases, server } = yield* serverApart(limits)
      yield* count(client, 1)
      yield* server.pause
      yield* Effect.sleep(1_150)
      assert.strictEqual(phases.at(-1), "Ready")
      yield* Effect.sleep(100)
      assert.include(phases, "Pausing")
      yield* server.resume
      yield* Effect.timeout(count(client, 2), "1 second")
    })
  )

  it.sim("G9: keeps the connection to a server that lives", settings, () =>
    Effect.gen(function* () {
      const { client, phases } = yield* serverApart(limits)
      yield* count(client, 1)
      yield* Effect.sleep("1 minute")
      assert.notInclude(phases, "Pausing")
      yield* count(client, 2)
    })
  )
})
