/**
 * Goal: an accepted connection is read, also by a Node that does not offer the fast way (L17).
 * Method: the probe on replaced ways, and a worker whose sockets lack the fast way.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { probeReread, rereadSocket } from "../../../src/native/io/internal/sockets.ts"
import * as lab from "./harness.ts"

const framer = new URL("./fixtures/plainSocketFramer.ts", import.meta.url)
const upTo = (count: number): Array<number> => Array.from({ length: count }, (_, i) => i)

describe("an accepted connection", () => {
  it("L17: is read by the fast way where the probe finds that it works", async () => {
    assert.isTrue(await probeReread(rereadSocket))
  })

  it("L17: is read by events where the probe finds no fast way", async () => {
    assert.isFalse(
      await probeReread(() => {
        throw new Error("no handle")
      }),
      "a socket that cannot be made"
    )
    assert.isFalse(await probeReread((accepted) => accepted), "a socket that is not read into")
  })

  it.live("L17: loses no frame in a worker without the fast way, whatever its user's pace", () =>
    lab.withPool({ workers: 1, receiveBytes: 100_000 }, (pool) =>
      Effect.gen(function* () {
        const listener = yield* pool.listen({ framer, on: "worker", at: lab.loopback })
        const peer = yield* lab.rawClient(listener.port)
        for (const n of upTo(2_000)) peer.write(lab.numbered(n, 1_000))
        peer.end()
        const lane = yield* listener.accept
        const first = yield* lab.takeCount(lane, 1)
        yield* Effect.sleep("50 millis")
        const rest = yield* lab.takeCount(lane, 2_000 - first.length)
        assert.deepStrictEqual([...first, ...rest].map(lab.numberOf), upTo(2_000))
        assert.strictEqual((yield* lane.closed).reason._tag, "PeerClosed")
      })
    )
  )
})
