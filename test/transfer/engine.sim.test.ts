/**
 * Goal: a transfer moves all of it, in both directions, whatever is between; or it says what has
 * not moved, and then nothing of it is under way any more.
 * Method: engines on a simulated fabric, with real queue pairs and the fabric's own faults.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { it } from "../../src/testing/vitest.ts"
import { differsAt, pair, pattern, shared } from "./lab.ts"

const mega = 1 << 20

describe("a transfer", () => {
  it.sim("moves memory to a peer and from it", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair()
      const own = yield* shared(a, "own", mega, 1)
      const kept = yield* shared(b, "kept", 2 * mega, 2)
      const moved = yield* a.transfer({
        peer: "b",
        ops: [
          { op: "write", from: own.slice(0, mega / 2), to: { buffer: "kept", offset: 4096 } },
          { op: "read", from: { buffer: "kept", offset: mega }, to: own.slice(mega / 2) }
        ]
      })
      assert.deepStrictEqual(moved, { moved: mega, bytes: mega })
      const source = pattern(mega, 1).subarray(0, mega / 2)
      assert.strictEqual(differsAt(source, kept.octets.subarray(4096)), -1)
      const read = pattern(2 * mega, 2).subarray(mega, mega + mega / 2)
      assert.strictEqual(differsAt(read, own.octets.subarray(mega / 2)), -1)
      assert.strictEqual(net.posts, 16)
      assert.strictEqual(net.lookups, 1)
      assert.strictEqual(fabric.counters.earlyPosts, 0)
    })
  )
})
