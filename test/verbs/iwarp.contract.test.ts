/**
 * Goal: the software iWARP provider keeps the published contract of providers.
 * Method: each demand runs over real sockets of this machine, with the sockets on the main thread
 * and in a worker.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Verbs } from "../../src/native/Verbs.ts"
import { casesFor, layerPair } from "../../src/testing/VerbsContract.ts"

const capabilities = {
  atomics: true,
  writeImmediate: true,
  remoteInvalidate: true,
  acknowledges: false,
  rnrRetries: false
}

describe.each(["main", "worker"] as const)("iwarp with its sockets in the %s thread", (on) => {
  const verbs = Verbs.layerIwarp({ on, pool: { workers: on === "main" ? 0 : 1 } })
  for (const { name, test } of casesFor(capabilities)) {
    it.live(name, () => Effect.provide(test, layerPair(verbs)), 30_000)
  }
})
