/**
 * The other process of a run: takes writes, and returns each message.
 *
 * node peer.ts worker|main crc|plain
 */
import * as Effect from "effect/Effect"
import { end, layer, type On } from "./ends.ts"

const [, , on = "", crc = ""] = process.argv

const program = Effect.gen(function* () {
  const own = yield* end
  const listener = yield* own.device.listen({ host: "127.0.0.1" })
  process.send!({ port: listener.address.port })
  for (let posted = 0; posted < 64; posted++) own.toReceive()
  const request = yield* listener.take
  const privateData = new Uint8Array(12)
  const view = new DataView(privateData.buffer)
  view.setUint32(0, own.region.remoteKey)
  view.setFloat64(4, own.region.address)
  const connection = yield* request.accept({ queuePair: own.queuePair, privateData })
  const serve = Effect.forever(
    Effect.map(own.messages, (count) => {
      for (let received = 0; received < count; received++) {
        own.toReceive()
        own.send(received < count - 1)
      }
    }),
    // Who waits for the peer anyway need not let others go first.
    { disableYield: true }
  )
  yield* Effect.raceFirst(connection.disconnected, serve)
})

process.on("disconnect", () => process.exit())
Effect.runFork(
  Effect.ignoreCause(Effect.scoped(program).pipe(Effect.provide(layer(on as On, crc === "crc"))))
)
