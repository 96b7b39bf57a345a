/**
 * Goal: a function of the program that throws harms only the call that asked for it.
 * Method: servers, callers and endpoints on loopback with functions that throw, or answer nonsense.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as net from "node:net"
import * as HandshakeServer from "../../../src/actors/endpoint/mooncake/HandshakeServer.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import { Faults } from "../../../src/testing/index.ts"
import { SimHandshakes } from "../../../src/testing/SimHandshakes.ts"
import { it as simulated } from "../../../src/testing/vitest.ts"
import { half, scene } from "./scriptedPeer.ts"
import { card, onHost, pathOf } from "./simHosts.ts"
import { answering, pool } from "./tcp.ts"

const broken = (): never => {
  throw new Error("the program is broken")
}

/** How a connection ends, and what kills the process meanwhile. */
const connected = (port: number) =>
  Effect.callback<unknown>((resume) => {
    const uncaught: Array<unknown> = []
    const hear = (error: unknown): void => void uncaught.push(error)
    process.on("uncaughtException", hear)
    const socket = net.connect(port, "127.0.0.1")
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(uncaught)))
    return Effect.sync(() => {
      socket.destroy()
      process.off("uncaughtException", hear)
    })
  })

describe("a function that throws", () => {
  it.live("closes the connection of the caller that `hears` was asked for", () =>
    Effect.gen(function* () {
      const server = yield* HandshakeServer.make({ host: "127.0.0.1", port: 0, hears: broken })
      assert.deepStrictEqual(yield* Effect.scoped(connected(server.port)), [])
      assert.deepStrictEqual(yield* Effect.scoped(connected(server.port)), [])
    }).pipe(Effect.provide(pool))
  )

  it.live("fails the calls that `locate` was asked for, and holds no turn", () =>
    Effect.gen(function* () {
      const port = yield* answering(() => '{"status":"success"}')
      let place = (): { readonly host: string; readonly port: number } => broken()
      const calls = yield* TcpHandshakes.calls({
        callsPerServer: 1,
        locate: () => Effect.sync(() => place())
      })
      const thrown = yield* Effect.flip(calls.probe("p"))
      assert.deepInclude(thrown, { step: "resolve", detail: "the program is broken" })
      for (const wrong of [70_000, 0, 1.5, Number.NaN]) {
        place = () => ({ host: "127.0.0.1", port: wrong })
        assert.strictEqual((yield* Effect.flip(calls.probe("p"))).step, "resolve")
      }
      place = () => ({ host: "127.0.0.1", port })
      const { step } = yield* Effect.flip(calls.probe("p"))
      assert.strictEqual(step, "protocol", "it was called, and answered another type of frame")
    }).pipe(Effect.provide(pool))
  )

  simulated.sim("leaves a link open that `onReady` was told of", { seeds: 3 }, () =>
    Effect.gen(function* () {
      yield* Faults.heal
      const fabric = yield* SimFabric.make()
      const network = new SimHandshakes()
      const on = (host: string, onReady?: () => void) =>
        card(network, host, { onReady }).pipe(Effect.provide(onHost(fabric, network, host)))
      const a = yield* on("a", broken)
      yield* on("b")
      const link = yield* a.store.open(pathOf("b"))
      yield* Effect.sleep("1 second")
      assert.isTrue(link.isOpen)
    })
  )
})

describe("an offer", () => {
  simulated.sim("R15: is refused from the NIC that it is made to", { seeds: 3 }, () =>
    scene(({ host, peer }) =>
      Effect.gen(function* () {
        const { path } = host.nic
        const offer = { ...peer.offer(half(1, "aaaaaaaa.1")), from: path }
        const { reason } = yield* Effect.flip(host.store.takeOffer(offer))
        assert.strictEqual(reason, "wrong-path")
        assert.strictEqual(host.store.size, 0)
      })
    )
  )
})
