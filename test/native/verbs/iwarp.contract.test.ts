/**
 * Goal: the software iWARP provider keeps the published contract of providers, and leaves nothing.
 * Method: each demand runs over real sockets of this machine, with the sockets on the main thread
 * and in a worker; after each one all connections must be gone.
 */
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll } from "vitest"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { makeProvider } from "../../../src/native/iwarp/device.ts"
import { poolOf } from "../../../src/native/iwarp/settings.ts"
import type { Provider } from "../../../src/native/verbs/Verbs.ts"
import { casesFor, Pair } from "../../../src/testing/VerbsContract.ts"

const capabilities = {
  atomics: true,
  writeImmediate: true,
  remoteInvalidate: true,
  acknowledges: false,
  rnrRetries: false,
  randomKeys: true
}

const suites = [
  ["main", true],
  ["worker", true],
  ["worker", false]
] as const

describe.each(suites)("iwarp with its sockets in the %s thread, CRC %s", (on, crc) => {
  const scope = Scope.makeUnsafe()
  const ends: { pool?: IoPool["Service"]; provider?: Provider } = {}

  beforeAll(async () => {
    const layer = IoPool.layer(poolOf({ workers: on === "main" ? 0 : 1 }))
    const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
    ends.pool = Context.get(context, IoPool)
    ends.provider = await Effect.runPromise(Effect.provide(makeProvider({ on, crc }), context))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const { name, test } of casesFor(capabilities)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const { pool, provider } = ends
        yield* Effect.provideService(test, Pair, { active: provider!, passive: provider! })
        yield* Effect.repeat(pool!.stats, {
          until: ({ jobsOut, lanes }) => jobsOut + lanes === 0,
          schedule: Schedule.spaced("2 millis")
        })
      })
    )
  }
})
