/**
 * Goal: a listener that was given up is gone: nothing accepts at its address once its fiber or
 * its Scope has ended (L7).
 * Method: listens that are interrupted after some turns of the event loop, and connections to the
 * same port afterwards, which the kernel must refuse.
 */
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import * as lab from "./harness.ts"

const nextTurn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** A port that was free a moment ago. */
const freePort = Effect.map(Effect.scoped(lab.rawServer(() => {})), ({ port }) => port)

/** Whether the kernel takes a connection there. */
const accepts = (to: net.NetConnectOpts): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = net.connect(to)
    const answer = (does: boolean) => (): void => {
      socket.destroy()
      resume(Effect.succeed(does))
    }
    socket.once("connect", answer(true)).once("error", answer(false))
  })

describe("a pool that stops", () => {
  for (const workers of [0, 1]) {
    it.live(`has no job out any more, of a connection or a listener (${workers} workers)`, () =>
      Effect.gen(function* () {
        const silent = yield* lab.rawServer(() => {})
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(IoPool.layer({ workers }), scope)
        const pool = Context.get(context, IoPool)
        const options = { framer: lab.labFramer, on: "worker" } as const
        yield* pool.listen({ ...options, at: lab.loopback })
        const to = { host: "127.0.0.1", port: silent.port }
        const connecting = pool.connect({ ...options, tls: lab.tlsOf("client"), to })
        const opening = yield* Effect.forkChild(Effect.flip(connecting))
        yield* lab.until("the job", () => Effect.map(pool.stats, (stats) => stats.jobsOut === 1))
        // It has begun to connect: the loop of its thread has had some turns.
        for (let turn = 0; turn < 20; turn++) yield* nextTurn
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* pool.stats).jobsOut, 0)
        assert.strictEqual((yield* Fiber.join(opening))._tag, "SocketOpenError")
      }).pipe(Effect.scoped)
    )
  }
})

const rounds = 60

for (const on of ["main", "worker"] as const) {
  describe(`a listener (${on})`, () => {
    it.live("L7: that is interrupted while it opens leaves nothing that accepts", () =>
      lab.withPool({ workers: 2 }, (pool) =>
        Effect.gen(function* () {
          // A name takes longer to bind than an address: it is looked up in another thread.
          const at = { host: "localhost", port: yield* freePort }
          let opened = 0
          // The framer's module is loaded once, and the first listen would wait for that.
          yield* Effect.scoped(pool.listen({ framer: lab.labFramer, on, at: lab.loopback }))
          for (let round = 0; round < rounds; round++) {
            const listening = Effect.andThen(
              pool.listen({ framer: lab.labFramer, on, at }),
              Effect.andThen(
                Effect.sync(() => opened++),
                Effect.never
              )
            )
            const fiber = yield* Effect.forkChild(Effect.scoped(listening))
            for (let turn = 0; turn < round % 6; turn++) yield* nextTurn
            yield* Fiber.interrupt(fiber)
            assert.isFalse(yield* accepts(at), `round ${round}`)
          }
          for (let turn = 0; turn < 20; turn++) yield* nextTurn
          assert.isFalse(yield* accepts(at), "in the end")
          assert.isBelow(opened, rounds)
        })
      )
    )

    it.live("L7: whose Scope has closed leaves nothing that accepts, at a port or a path", () =>
      lab.withPool({ workers: 2 }, (pool) =>
        Effect.gen(function* () {
          const path = join(tmpdir(), `handfast-listening-${process.pid}-${on}.sock`)
          for (const [at, reusePort] of [
            [lab.loopback, true],
            [lab.loopback, false],
            [{ path }, false]
          ] as const) {
            const scope = yield* Scope.make()
            const listening = pool.listen({ framer: lab.labFramer, on, at, reusePort })
            const { port } = yield* Scope.provide(listening, scope)
            const to = "path" in at ? at : { host: "127.0.0.1", port }
            assert.isTrue(yield* accepts(to))
            yield* Scope.close(scope, Exit.void)
            assert.isFalse(yield* accepts(to))
          }
        })
      )
    )
  })
}
