/**
 * Goal: settings that cannot hold together are refused at start by their names; with all others
 * calls go through (G20).
 * Method: each setting at its smallest and its largest, and against those that it meets; 200 calls
 * inline and by chunks on a simulated fabric, or a refusal.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { ClientOptions } from "../../../src/actors/rpc/RpcClient.ts"
import type { ServerOptions } from "../../../src/actors/rpc/RpcServer.ts"
import { it } from "../../../src/testing/vitest.ts"
import { count, echo, makeWorld, pattern } from "./world.ts"

const settings = { seeds: 1 } as const

interface Options {
  readonly client?: Partial<ClientOptions>
  readonly server?: Partial<ServerOptions>
}

const works: Record<string, Options> = {
  "one credit here": { client: { credits: 1 } },
  "one credit there": { server: { credits: 1, maxCredits: 1 } },
  "two credits here, many there": {
    client: { credits: 2 },
    server: { credits: 128, maxCredits: 128, maxHandlersPerClient: 128, maxConnections: 64 }
  },
  "more credits here than there": { client: { credits: 4_000 } },
  "the least inline here": { client: { inlineBytes: 1_024 } },
  "the least inline there": { server: { inlineBytes: 1_024 } },
  "the most inline": { client: { credits: 4, inlineBytes: 262_144 } },
  "one chunk of memory here": { client: { memoryBytes: 16_384 } },
  "one chunk of memory there": {
    server: { memoryBytes: 16_384, maxBytesPerConnection: 16_384, maxCallBytes: 16_384 }
  },
  "one segment at once": { server: { maxSegments: 1 } },
  "one connection": { server: { maxConnections: 1, maxUnproven: 1, maxUnprovenPerHost: 1 } },
  "as many completions as may wait": {
    server: { maxConnections: 1, maxUnproven: 1, maxCredits: 4, credits: 4, completions: 110 }
  },
  "as few handlers as credits": {
    server: { maxCredits: 4, credits: 4, maxHandlers: 4, maxHandlersPerClient: 4 }
  },
  "the smallest cache": { server: { maxCacheBytes: 1, maxClients: 1 } }
}

describe("settings that hold together", () => {
  for (const [what, options] of Object.entries(works)) {
    it.sim(`G20: let calls through: ${what}`, settings, () =>
      Effect.gen(function* () {
        const { client, executions, fabric } = yield* makeWorld(options)
        const calls = Array.from({ length: 100 }, (_, index) =>
          Effect.andThen(count(client, index), echo(client, pattern(6_000, index)))
        )
        const echoed = yield* Effect.all(calls, { concurrency: "unbounded" })
        for (const [index, bytes] of echoed.entries()) {
          assert.deepStrictEqual(bytes, pattern(6_000, index))
        }
        assert.isTrue([...executions.values()].every((times) => times === 1))
        assert.strictEqual(fabric.rnrs, 0)
      })
    )
  }
})

const served = { program: 7, version: 1, procedures: {} }

const refused: Record<string, Options & { readonly names: ReadonlyArray<string> }> = {
  "no program": { server: { programs: [] }, names: ["programs"] },
  "one version of a program twice": {
    server: { programs: [served, { ...served, version: 2 }, served] },
    names: ["programs"]
  },
  "a program that is no number": {
    server: { programs: [{ ...served, program: Number.NaN }] },
    names: ["programs"]
  },
  "a version that no call can name": {
    server: { programs: [{ ...served, version: 2 ** 32 }] },
    names: ["programs"]
  },
  "no credit here": { client: { credits: 0 }, names: ["credits"] },
  "half a credit": { client: { credits: 1.5 }, names: ["credits"] },
  "more credits than a queue has places": { client: { credits: 40_000 }, names: ["credits"] },
  "no inline size": { client: { inlineBytes: 1_000 }, names: ["inlineBytes"] },
  "no time for a probe": { client: { probeWithinMs: 0 }, names: ["probeWithinMs"] },
  "a pause that is no number": { client: { firstPauseMs: NaN }, names: ["firstPauseMs"] },
  "less memory than inline": {
    client: { memoryBytes: 1_024 },
    names: ["memoryBytes", "inlineBytes"]
  },
  "no credit there": { server: { credits: 0 }, names: ["credits"] },
  "more credits than the most": { server: { credits: 65 }, names: ["credits", "maxCredits"] },
  "no segment": { server: { maxSegments: 0 }, names: ["maxSegments"] },
  "no time to admit": { server: { admitWithinMs: -1 }, names: ["admitWithinMs"] },
  "calls that are longer than a connection's memory": {
    server: { maxBytesPerConnection: 1 << 20, maxCallBytes: 4 << 20 },
    names: ["maxCallBytes", "maxBytesPerConnection"]
  },
  "calls that are longer, in powers of two, than a connection's memory": {
    server: { maxBytesPerConnection: 3 << 20, maxCallBytes: 3 << 20 },
    names: ["maxCallBytes", "maxBytesPerConnection"]
  },
  "a connection with more memory than there is": {
    server: { memoryBytes: 1 << 20 },
    names: ["maxBytesPerConnection", "memoryBytes"]
  },
  "more places than completions": {
    server: { completions: 1_000 },
    names: ["completions", "maxConnections"]
  },
  "more credits there than a queue has places": {
    server: {
      maxCredits: 40_000,
      maxConnections: 1,
      maxHandlers: 40_000,
      maxHandlersPerClient: 40_000,
      completions: 1 << 20
    },
    names: ["maxCredits", "maxSegments"]
  },
  "fewer handlers than credits": {
    server: { maxHandlersPerClient: 10 },
    names: ["maxHandlers", "maxHandlersPerClient", "maxCredits"]
  }
}

describe("settings that conflict", () => {
  for (const [what, { names, ...options }] of Object.entries(refused)) {
    it.sim(`G20: are refused at start: ${what}`, settings, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(makeWorld(options))
        assert.deepInclude(error, { _tag: "SettingsConflict", settings: names })
      })
    )
  }
})
