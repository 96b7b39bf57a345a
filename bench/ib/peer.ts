/** The other process of a run: takes writes, and answers each message. */
import * as Effect from "effect/Effect"
import { bytesOf, end, exchangeSends, exchangeWrites, layer, remoteOf } from "./ends.ts"
import { trips } from "./sizes.ts"

const program = Effect.gen(function* () {
  const own = yield* end
  const listener = yield* own.device.listen()
  process.send!(listener.address)
  for (let posted = 0; posted < 64; posted++) own.toReceive()
  const request = yield* listener.take
  const remote = remoteOf(request.privateData)
  const privateData = bytesOf({ key: own.region.remoteKey, address: own.region.address })
  yield* request.accept({ queuePair: own.queuePair, privateData })
  // It spins, so it does nothing else: what comes next is agreed on.
  for (let runs = 0; runs < 2; runs++) exchangeSends(own, trips, false)
  for (let runs = 0; runs < 2; runs++) exchangeWrites(own, remote, trips, false)
  return yield* Effect.never
})

process.on("disconnect", () => process.exit())
Effect.runFork(Effect.scoped(program).pipe(Effect.provide(layer)))
