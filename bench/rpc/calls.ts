/** `RpcClient` with its calls in flight, and the bare exchange of messages under it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import * as RpcClient from "../../src/actors/rpc/RpcClient.ts"
import type { Outcome } from "../harness.ts"
import { layer, type On } from "../iwarp/ends.ts"
import { connected, elsewhere } from "../iwarp/writes.ts"
import { closedLoop, callsOf } from "./loop.ts"
import { bulkBytes, program } from "./program.ts"

type Outcomes = Promise<Record<string, Outcome>>

const clientOf = Effect.fnUntraced(function* (on: On, credits: number) {
  const port = yield* Effect.promise(() =>
    elsewhere(new URL("./peer.ts", import.meta.url), "rpc", on)
  )
  return yield* RpcClient.make({
    to: { host: "127.0.0.1", port },
    program: program.program,
    version: program.version,
    credits
  })
})

const withClient = (
  on: On,
  credits: number,
  use: (client: RpcClient.RpcClient) => Outcomes
): Outcomes =>
  Effect.runPromise(
    Effect.flatMap(clientOf(on, credits), (client) => Effect.promise(() => use(client))).pipe(
      Effect.scoped,
      Effect.provide(Layer.merge(layer(on, false), Journal.layerMemory))
    )
  )

const noArgs = new Uint8Array(0)

const calling =
  (client: RpcClient.RpcClient, request: RpcClient.CallRequest) =>
  (ended: (error?: unknown) => void): void =>
    void Effect.runFork(client.call(request)).addObserver((exit) =>
      ended(exit._tag === "Success" ? undefined : exit.cause)
    )

/** Small calls. With two credits and more, the last one is kept for control. */
export const byClient = (on: On, inFlight: number): Outcomes =>
  withClient(on, inFlight === 1 ? 1 : inFlight + 1, (client) =>
    closedLoop(inFlight, calling(client, { procedure: 1, args: noArgs }))
  )

const bulkCalls = 200

/** Results of 1 MiB by write chunk, eight at once. */
export const byChunks = (on: On): Outcomes =>
  withClient(on, 9, async (client) => {
    const request = {
      procedure: 2,
      args: noArgs,
      maxResultBytes: bulkBytes + 4,
      bulkResults: [bulkBytes],
      isIdempotent: true
    }
    const run = (calls: number) =>
      Effect.runPromise(
        Effect.forEach(Array.from({ length: calls }), () => client.call(request), {
          concurrency: 8,
          discard: true
        })
      )
    await run(bulkCalls / 10)
    const start = performance.now()
    await run(bulkCalls)
    const seconds = (performance.now() - start) / 1_000
    const value = (bulkCalls * bulkBytes) / seconds / 1e6
    return { "bulk-1m": { value, unit: "MB/s", completed: bulkCalls, expected: bulkCalls } }
  })

/** Messages of 64 bytes there and back, without anything above the provider. */
export const byProvider = (on: On, inFlight: number): Outcomes =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { own } = yield* connected(on, false)
      const run = Effect.fnUntraced(function* (count: number) {
        let [sent, came] = [0, 0]
        const next = (): void => {
          if (sent === count) return
          sent++
          own.toReceive()
          own.send()
        }
        for (let index = 0; index < inFlight; index++) next()
        while (came < count) {
          const messages = yield* own.messages
          came += messages
          for (let index = 0; index < messages; index++) next()
        }
      })
      const count = callsOf(inFlight)
      yield* run(count / 10)
      const start = performance.now()
      yield* run(count)
      const value = count / ((performance.now() - start) / 1_000)
      const counted = { completed: count, expected: count }
      return { [`calls-${inFlight}`]: { value, unit: "calls/s", ...counted } }
    }).pipe(Effect.scoped, Effect.provide(layer(on, false)))
  )
