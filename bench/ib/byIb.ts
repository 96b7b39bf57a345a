/** Writes and messages to another process, by the provider. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type { Address } from "../../src/native/verbs/Connection.ts"
import { SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import type { Outcome } from "../harness.ts"
import {
  bytesOf,
  end,
  type End,
  exchangeSends,
  exchangeWrites,
  layer,
  type Remote,
  remoteOf
} from "./ends.ts"
import { memoryBytes, trips, writes } from "./sizes.ts"

/** Starts the other process and gives its address. */
const startPeer = Effect.promise(() => {
  const child = fork(fileURLToPath(new URL("./peer.ts", import.meta.url)))
  process.on("exit", () => child.kill())
  return new Promise<Address>((resolve, reject) => {
    child.once("message", resolve)
    child.once("exit", (code) => reject(new Error(`the other process ended with ${code}`)))
  })
})

const writeAll = (own: End, { address, key }: Remote, bytes: number, count: number): number => {
  const write = Object.assign(new SendRequest(), { opcode: "write" as const })
  for (let posted = 0; posted < count; posted++) {
    const at = (posted * bytes) % memoryBytes
    write.scatterList.clear().add(own.region, at, bytes)
    own.post(write.remote(key, address + at))
  }
  while (own.queuePair.outstandingSends > 0) own.spin()
  return count
}

/** Half the time of a trip, as perftest counts, after as many trips to warm up. */
const halfTrip = (exchange: () => number): Outcome => {
  exchange()
  const start = performance.now()
  const completed = exchange()
  const value = ((performance.now() - start) * 1000) / completed / 2
  return { value, unit: "µs", completed, expected: trips }
}

const bandwidth = (bytes: number, count: number, run: () => number): Outcome => {
  run()
  const start = performance.now()
  const completed = run()
  const value = (bytes * count) / ((performance.now() - start) * 1000)
  return { value, unit: "MB/s", completed, expected: count }
}

export const byIb = (): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const to = yield* startPeer
      const own = yield* end
      const privateData = bytesOf({ key: own.region.remoteKey, address: own.region.address })
      const connection = yield* own.device.connect({ to, queuePair: own.queuePair, privateData })
      const remote = remoteOf(connection.privateData)
      for (let posted = 0; posted < 64; posted++) own.toReceive()
      const outcomes: Record<string, Outcome> = {
        "send-latency": halfTrip(() => exchangeSends(own, trips, true)),
        "write-latency": halfTrip(() => exchangeWrites(own, remote, trips, true))
      }
      for (const [size, [bytes, count]] of Object.entries(writes)) {
        const run = () => writeAll(own, remote, bytes, count)
        outcomes[`write-${size}`] = bandwidth(bytes, count, run)
      }
      return outcomes
    }).pipe(Effect.scoped, Effect.provide(layer))
  )
