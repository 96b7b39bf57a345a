/**
 * Goal: a peer that has vanished without a word is noticed by either side although nothing is under
 * way, within named limits, and holds nothing for ever.
 * Method: processes on a simulated fabric that are paused or killed while their connection is idle,
 * with exact timers. The twins are idle peers that live.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as RpcClient from "../../../src/actors/rpc/RpcClient.ts"
import type { Procedure, Program } from "../../../src/actors/rpc/RpcProgram.ts"
import type { CallRefused, OutcomeUnknown } from "../../../src/actors/rpc/RpcError.ts"
import * as RpcServer from "../../../src/actors/rpc/RpcServer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, makeProgram, procedures, program, token } from "./world.ts"

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

/** A client of its own in a process, which calls once, and may be called back. */
const clientApart = Effect.fnUntraced(function* (
  fabric: SimFabric,
  name: string,
  options: Partial<RpcClient.ClientOptions> = {}
) {
  const calling = Effect.gen(function* () {
    const client = yield* RpcClient.make({
      to: { host: "10.0.0.1", port: 20_049 },
      program,
      version: 1,
      ...options
    })
    yield* count(client, 1)
    yield* Effect.forkScoped(client.call({ procedure: procedures.custom, args: token(1) }))
    return yield* Effect.never
  })
  return yield* Sim.process(
    name,
    Effect.provide(Effect.scoped(calling), SimVerbs.layer(fabric, { host: name }))
  )
})

/** A server here. Clients are made apart. */
const serverHere = Effect.fnUntraced(function* (
  options: Partial<RpcServer.ServerOptions>,
  custom?: Procedure["handler"]
) {
  const fabric = yield* SimFabric.make()
  const { served } = makeProgram(custom)
  const server = yield* Effect.provide(
    RpcServer.make({ programs: [served], open: true, host: "*", port: 20_049, ...options }),
    SimVerbs.layer(fabric, { host: "server" })
  )
  return { fabric, server }
})

const answering: Procedure["handler"] = ({ args }) => Effect.succeed({ results: args })

describe("a server", () => {
  it.sim("G12: ends the connection of a client that is silent", settings, () =>
    Effect.gen(function* () {
      const { fabric, server } = yield* serverHere({ idleWithinMs: 2_000 }, answering)
      const silent = yield* clientApart(fabric, "silent")
      yield* clientApart(fabric, "living", { keepAliveAfterMs: 500 })
      yield* Effect.sleep("1 second")
      assert.strictEqual(server.usage.proven, 2)
      yield* silent.pause
      yield* Effect.sleep("1 minute")
      assert.strictEqual(server.usage.proven, 1)
    })
  )

  it.sim("G12: keeps the connection of a silent client whose call is under way", settings, () =>
    Effect.gen(function* () {
      const { fabric, server } = yield* serverHere({ idleWithinMs: 2_000 })
      yield* clientApart(fabric, "client", { keepAliveAfterMs: 1e9, overdueAfterMs: 1e9 })
      yield* Effect.sleep("1 minute")
      assert.strictEqual(server.usage.proven, 1)
      assert.strictEqual(server.usage.handlers, 1)
    })
  )

  it.sim("G20: with all its connections in use takes a client that returns", settings, () =>
    Effect.gen(function* () {
      const { fabric, server } = yield* serverHere({ maxConnections: 1 }, answering)
      const to = { host: "10.0.0.1", port: 20_049 }
      const client = yield* Effect.provide(
        RpcClient.make({ to, program, version: 1, firstPauseMs: 1, probeWithinMs: 500 }),
        SimVerbs.layer(fabric, { host: "client" })
      )
      yield* count(client, 1)
      const another = Effect.gen(function* () {
        const other = yield* RpcClient.make({ to, program, version: 1 })
        return yield* Effect.timeoutOption(count(other, 2), "1 second")
      })
      const host = SimVerbs.layer(fabric, { host: "another" })
      assert.isTrue(Option.isNone(yield* Effect.provide(Effect.scoped(another), host)))
      // The server has not heard of the end of the older connection.
      fabric.strike({ _tag: "Cut", from: "client", to: "server", forMillis: 10 })
      yield* client.reconnect
      yield* Effect.timeout(count(client, 3), "1 minute")
      assert.strictEqual(server.usage.proven, 1)
    })
  )
})

describe("a call to a client", () => {
  const reverseName = { program: 0x2000_0002, version: 1 }
  const reverse: Program = { ...reverseName, procedures: { 1: { handler: () => Effect.never } } }

  it.sim("G21: fails when the client does not come back in time", settings, () =>
    Effect.gen(function* () {
      const errors: Array<CallRefused | OutcomeUnknown> = []
      const callingBack: Procedure["handler"] = ({ args, caller }) => {
        const call = caller!.call({ ...reverseName, procedure: 1, args })
        const twice = Effect.all([Effect.flip(call), Effect.flip(call)], { concurrency: 2 })
        return Effect.as(
          Effect.map(Effect.orDie(twice), (found) => void errors.push(...found)),
          { results: args }
        )
      }
      const { fabric, server } = yield* serverHere({ returnWithinMs: 2_000 }, callingBack)
      const client = yield* clientApart(fabric, "client", { reverse: [reverse], reverseCalls: 1 })
      yield* Effect.sleep("100 millis")
      yield* client.crash
      yield* Effect.sleep("1900 millis")
      assert.lengthOf(errors, 0)
      yield* Effect.sleep("1 second")
      // One was out, and one waited for its credit.
      const isUnknown = ({ _tag }: { readonly _tag: string }) => _tag === "OutcomeUnknown"
      assert.lengthOf(errors.filter(isUnknown), 1)
      const refused = errors.find((error) => !isUnknown(error))
      assert.deepInclude(refused, { _tag: "CallRefused", reason: "closed" })
      assert.strictEqual(server.usage.handlers, 0)
    })
  )
})
