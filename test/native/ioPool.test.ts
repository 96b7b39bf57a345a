/**
 * Goal: lanes carry whole frames over real sockets, in a worker and on the main thread, and
 * everything is given back. Method: a pool with itself as the peer, over loopback.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { IoPool } from "../../src/native/IoPool.ts"

const framer = new URL("./fixtures/lengthFramer.ts", import.meta.url)

const frame = (body: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(body.length + 4)
  new DataView(bytes.buffer).setUint32(0, bytes.length)
  bytes.set(body, 4)
  return bytes
}

describe("IoPool", () => {
  for (const on of ["worker", "main"] as const) {
    it.live(`carries frames both ways on: ${on}`, () =>
      Effect.gen(function* () {
        const pool = yield* IoPool
        const listener = yield* pool.listen({ framer, on, at: { host: "127.0.0.1", port: 0 } })
        const client = yield* pool.connect({
          framer,
          on,
          to: { host: "127.0.0.1", port: listener.port }
        })
        const server = yield* listener.accept
        let n = 0
        for (let i = 0; i < 1000; i++) {
          const status = client.send(frame(new Uint8Array(i % 300).fill(i)))
          assert.strictEqual(status, "accepted")
        }
        while (n < 1000) {
          for (const bytes of yield* server.take) {
            assert.strictEqual(bytes.length, 4 + (n % 300))
            n++
          }
        }
        server.send(frame(new Uint8Array(5)))
        assert.strictEqual((yield* client.take).length, 1)
        yield* client.close
        const end = yield* server.closed
        assert.strictEqual(end._tag, "PeerClosed")
        assert.strictEqual((yield* pool.stats).jobsOut, 0)
      }).pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 }))))
  }
})
