/** An echo server: frames behind their length, mutual TLS in a worker, batches both ways. */
import { readFileSync } from "node:fs"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { lengthPrefixed } from "../src/native/io/Framer.ts"
import { IoPool, type TlsSettings } from "../src/native/io/IoPool.ts"

const pem = (name: string) =>
  readFileSync(new URL(`../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8")

const tlsOf = (name: string): TlsSettings => ({
  cert: pem(name),
  key: pem(`${name}-key`),
  ca: pem("ca"),
  servername: "localhost",
  verify: "name"
})

const program = Effect.gen(function* () {
  const pool = yield* IoPool
  const { port } = yield* pool.serve(
    { framer: lengthPrefixed, tls: tlsOf("server"), at: { host: "127.0.0.1", port: 0 } },
    (lane) =>
      lane
        .run((batch) => lane.send(batch.all))
        .pipe(
          Effect.catchReason("LaneError", "SlowPeer", ({ bytes }) =>
            Console.log(`a peer took none of ${bytes} bytes for too long`)
          )
        )
  )

  const to = { host: "127.0.0.1", port }
  const lane = yield* pool.connect({ framer: lengthPrefixed, tls: tlsOf("client"), to })
  lane.send(Uint8Array.of(0, 0, 0, 5, ...new TextEncoder().encode("hello")))
  const [frame] = yield* lane.take
  yield* Console.log(new TextDecoder().decode(frame?.subarray(4))) // hello
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(IoPool.layer({ workers: 1 }))))
