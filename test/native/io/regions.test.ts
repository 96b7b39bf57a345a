/**
 * Goal: memory that was registered is its owner's again once the Scope has closed.
 * Method: a framer in a worker is kept busy with a frame behind it that writes to a region; the
 * region's Scope closes meanwhile, and the memory is compared with itself some frames later.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as lab from "./harness.ts"

const busyMillis = 150

/** A frame that writes one byte at the beginning of a region. */
const place = (region: number, value: number) =>
  lab.frame("place", Uint8Array.of(...lab.words(region, 0), value))

describe("registered memory", () => {
  for (const workers of [0, 1, 2]) {
    it.live(`L9: is not written after its Scope has closed, ${workers} workers`, () =>
      lab.withPool({ workers }, (pool) =>
        Effect.gen(function* () {
          const { client, server } = yield* lab.pair(pool, workers === 0 ? "main" : "worker")
          const flag = yield* pool.register(new SharedArrayBuffer(8))
          for (let round = 1; round <= 5; round++) {
            const scope = yield* Scope.make()
            const registering = pool.register(new SharedArrayBuffer(8))
            const { bytes, id } = yield* Scope.provide(registering, scope)
            // One write for all three, so that the worker reads them together.
            const frames = [
              place(flag.id, round),
              lab.frame("busy", lab.words(busyMillis)),
              place(id, 0xee)
            ]
            client.send(Buffer.concat(frames))
            yield* lab.until("the worker is busy", () => Effect.sync(() => flag.bytes[0] === round))
            yield* Scope.close(scope, Exit.void)
            const closed = bytes.slice()
            yield* lab.takeCount(server, 2)
            assert.deepStrictEqual(bytes.slice(), closed, `round ${round}`)
          }
        })
      )
    )
  }

  it.live("L9: is given back although its worker crashes", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { client } = yield* lab.pair(pool, "worker")
        const scope = yield* Scope.make()
        yield* Scope.provide(pool.register(new SharedArrayBuffer(8)), scope)
        client.send(Buffer.concat([lab.frame("busy", lab.words(50)), lab.frame("crash")]))
        yield* Effect.flip(client.take)
        yield* Scope.close(scope, Exit.void)
        yield* Effect.scoped(pool.register(new SharedArrayBuffer(8)))
      })
    )
  )

  it.live("L9: is given back although its worker crashes before it has answered", () =>
    lab.withPool({ workers: 1 }, (pool) =>
      Effect.gen(function* () {
        const { client } = yield* lab.pair(pool, "worker")
        const flag = yield* pool.register(new SharedArrayBuffer(8))
        const scope = yield* Scope.make()
        yield* Scope.provide(pool.register(new SharedArrayBuffer(8)), scope)
        const busy = lab.frame("busy", lab.words(busyMillis))
        client.send(Buffer.concat([place(flag.id, 1), busy, lab.frame("crash")]))
        yield* lab.until("the worker is busy", () => Effect.sync(() => flag.bytes[0] === 1))
        yield* Scope.close(scope, Exit.void)
        yield* lab.until("another worker", () =>
          Effect.map(pool.stats, ({ workersCrashed }) => workersCrashed === 1)
        )
        yield* Effect.scoped(pool.register(new SharedArrayBuffer(8)))
      })
    )
  )

  it.live("L9: keeps its program alive until the workers have answered", () =>
    lab.withPool({ workers: 2 }, (pool) =>
      Effect.gen(function* () {
        const registering = Effect.scoped(pool.register(new SharedArrayBuffer(8)))
        const many = Array.from({ length: 100 }, () => registering)
        const fiber = yield* Effect.forkChild(Effect.all(many, { concurrency: 10 }))
        assert.strictEqual((yield* Fiber.join(fiber)).length, 100)
      })
    )
  )
})
