/** `RpcClient` with its calls in flight, and the bare exchange of messages under it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import * as RpcClient from "../../src/actors/rpc/RpcClient.ts"
import type { Outcome } from "../harness.ts"
import { layer, type On } from "../iwarp/ends.ts"
import { connected, elsewhere } from "../iwarp/writes.ts"
import { median } from "../statistics.ts"
import { bulk, byFibers, callsOf, measured } from "./loop.ts"
import { bulkBytes, bulkCalls, bulkInFlight, program, validateBulk } from "./program.ts"

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

/** With two credits and more, the last one is kept for control. */
const creditsFor = (inFlight: number): number => (inFlight === 1 ? 1 : inFlight + 1)

const small = (client: RpcClient.RpcClient): Effect.Effect<void, RpcClient.CallError> =>
  Effect.asVoid(client.call({ procedure: 1, args: noArgs }))

/** Small calls. */
export const byClient = (on: On, inFlight: number): Outcomes =>
  withClient(on, creditsFor(inFlight), (client) =>
    measured(inFlight, byFibers(inFlight, small(client)))
  )

/** Results of 1 MiB by write chunk. */
export const byChunks = (on: On): Outcomes =>
  withClient(on, creditsFor(bulkInFlight), (client) => {
    const call = client.call({
      procedure: 2,
      args: noArgs,
      maxResultBytes: bulkBytes + 4,
      bulkResults: [bulkBytes],
      isIdempotent: true
    })
    const checked = Effect.map(call, ({ bulk: [bytes] }) => validateBulk(bytes!))
    return bulk([bulkCalls, bulkInFlight, bulkBytes], (inFlight) => byFibers(inFlight, checked))
  })

/** Calls in flight when the connection is lost, and how often it is. */
const [lostCalls, losses] = [64, 20]

/** Loses the connection under calls: how long until the first, and until all have been answered. */
export const byReconnect = (on: On): Outcomes =>
  withClient(on, creditsFor(lostCalls), async (client) => {
    const [first, all]: [Array<number>, Array<number>] = [[], []]
    for (let loss = 0; loss < losses; loss++) {
      const start = performance.now()
      const times: Array<number> = []
      const call = Effect.map(small(client), () => times.push(performance.now() - start))
      const calls = Effect.all(
        Array.from({ length: lostCalls }, () => call),
        {
          concurrency: "unbounded",
          discard: true
        }
      )
      await Effect.runPromise(Effect.all([calls, client.reconnect], { concurrency: 2 }))
      const late = times.filter((millis) => millis > 1)
      first.push(Math.min(...late))
      all.push(Math.max(...late))
    }
    const counted = { completed: all.length, expected: losses, unit: "ms" }
    return {
      "recovered-first": { value: median(first), ...counted },
      "recovered-64": { value: median(all), ...counted }
    }
  })

/** Messages of 64 bytes there and back, without anything above the provider. */
export const byProvider = (on: On, inFlight: number): Outcomes =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { own } = yield* connected(on, false)
      const run = Effect.fnUntraced(function* (count: number) {
        let [sent, came] = [0, 0]
        const send = (messages: number): void => {
          const last = Math.min(count, sent + messages)
          while (sent < last) {
            sent++
            own.toReceive()
            own.send(sent < last)
          }
        }
        send(inFlight)
        while (came < count) {
          const messages = yield* own.messages
          came += messages
          send(messages)
        }
        return came
      })
      const count = callsOf(inFlight)
      yield* run(count / 2)
      const start = performance.now()
      const completed = yield* run(count)
      const value = count / ((performance.now() - start) / 1_000)
      return {
        [`calls-${inFlight}`]: { value, unit: "calls/s", completed, expected: count }
      }
    }).pipe(Effect.scoped, Effect.provide(layer(on, false)))
  )
