/**
 * Goal: memory that may not be registered leaves nothing behind, and what peers are told of stays
 * within its limit, however many registrations are under way (T8); a name or a right that is none
 * is refused, since peers would refuse the whole description.
 * Method: an engine whose descriptions have room for few buffers, and the regions of its device.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Segment from "../../../src/actors/rdma/Segment.ts"
import { it } from "../../../src/testing/vitest.ts"
import { pair, shared } from "./harness.ts"

const seeds = { seeds: 20 }
/** Room for three buffers whose names have one letter. */
const describedBytes = 3 * 170

describe("a description that is full", () => {
  it.sim("T8: leaves no regions of the memory that it refuses", seeds, () =>
    Effect.gen(function* () {
      const { b, fabric } = yield* pair({ settings: { describedBytes } })
      for (const name of ["x", "y", "z"]) yield* shared(b, name, 64)
      const { regions } = fabric.resources("b")
      assert.deepInclude(yield* Effect.flip(shared(b, "w", 64)), { _tag: "DescriptionFull" })
      assert.strictEqual(fabric.resources("b").regions, regions)
    })
  )

  it.sim("T8: counts memory that is registered at the same time, once", seeds, () =>
    Effect.gen(function* () {
      const { b } = yield* pair({ settings: { describedBytes } })
      const names = ["s", "t", "u", "v", "w", "x", "y", "z"]
      for (const _ of [1, 2]) {
        const scope = yield* Scope.make()
        const exits = yield* Effect.forEach(
          names,
          (name) => Effect.exit(Scope.provide(shared(b, name, 64), scope)),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(exits.filter(Exit.isSuccess), 3)
        const { buffers, nics } = yield* b.description
        const paths = nics.map(({ path }) => path)
        const told = buffers.reduce((sum, buffer) => sum + Segment.bytesOf(buffer, paths), 0)
        assert.isAtMost(told, describedBytes)
        yield* Scope.close(scope, Exit.void)
      }
    })
  )
})

describe("memory", () => {
  it.sim("T8: is not registered under a name or with a right that is none", { seeds: 1 }, () =>
    Effect.gen(function* () {
      const { b, fabric } = yield* pair({})
      const wrong = [
        ["name", { name: "" }],
        ["name", { name: 5 as unknown as string }],
        ["name", { name: null as unknown as string }],
        ["access", { access: ["nosuch" as "remote-read"] }],
        ["access", { access: ["local-write", undefined as unknown as "remote-read"] }],
        ["access", { access: "remote-read" as unknown as ["remote-read"] }]
      ] as const
      const { regions } = fabric.resources("b")
      for (const [attribute, odd] of wrong) {
        const error = yield* Effect.flip(b.register({ memory: 64, ...odd }))
        assert.deepInclude(error, { _tag: "InvalidAttribute", operation: "register", attribute })
      }
      assert.strictEqual(fabric.resources("b").regions, regions)
      const unnamed = yield* b.register({ memory: 64, access: [] })
      assert.strictEqual((yield* b.named(unnamed.name)).name, unnamed.name)
    })
  )
})
