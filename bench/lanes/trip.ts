/**
 * The round trip of a lone frame of 256 bytes: to an echo in another process, and to an echo on
 * the same thread, where no sleeping thread has to be woken.
 */
import { fork } from "node:child_process"
import * as net from "node:net"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { IoPool } from "../../src/native/io/IoPool.ts"
import type { Lane } from "../../src/native/io/Lane.ts"
import type { Outcome } from "../harness.ts"
import { median } from "../statistics.ts"
import { framesOf } from "./frames.ts"
import { framer } from "./receive.ts"

const trips = 4_000

/** The port of an echo in a process of its own. */
const echoElsewhere = (): Promise<number> => {
  const child = fork(fileURLToPath(new URL("./echo.ts", import.meta.url)))
  process.on("exit", () => child.kill())
  return new Promise((resolve) => child.once("message", (port) => resolve(Number(port))))
}

/** Times trips, one after the other; `start` sends the first, `next` is called by its return. */
export const timed = (name: string, send: () => void) => {
  const times: Array<number> = []
  let begin = 0
  let resolve: (outcome: Record<string, Outcome>) => void = () => {}
  const done = new Promise<Record<string, Outcome>>((settle) => (resolve = settle))
  const go = (): void => {
    begin = performance.now()
    send()
  }
  const returned = (): void => {
    times.push((performance.now() - begin) * 1000)
    if (times.length < trips) go()
    else {
      const value = median(times.slice(trips / 4))
      const counted = { completed: times.length, expected: trips }
      resolve({ [name]: { value, unit: "µs", ...counted } })
    }
  }
  return { go, returned, done }
}

/** `node:net` with `onread` against the echo in another process. */
export const netTrip = async () => {
  const port = await echoElsewhere()
  const frame = framesOf(256, 256)
  const buffer = new Uint8Array(65_536)
  const onread = {
    buffer,
    callback: () => {
      trip.returned()
      return true
    }
  }
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true, onread })
  const trip = timed("trip", () => socket.write(frame))
  socket.on("connect", trip.go)
  return trip.done
}

const tripOf = (name: string, lane: Lane) => {
  const frame = framesOf(256, 256)
  const trip = timed(name, () => lane.send(frame))
  lane.onFrames(() => trip.returned())
  trip.go()
  return Effect.promise(() => trip.done)
}

const inPool = <A>(
  program: (pool: IoPool["Service"]) => Effect.Effect<A, unknown, Scope.Scope>
): Promise<A> =>
  Effect.runPromise(
    IoPool.pipe(
      Effect.flatMap(program),
      Effect.scoped,
      Effect.provide(IoPool.layer({ workers: 1 }))
    )
  )

/** A lane against the echo in another process. */
export const laneTrip = (on: "main" | "worker") =>
  inPool((pool) =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(echoElsewhere)
      const lane = yield* pool.connect({ framer, on, to: { host: "127.0.0.1", port } })
      return yield* tripOf("trip", lane)
    })
  )

/** Both ends on the main thread. */
export const ownTrip = () =>
  inPool((pool) =>
    Effect.gen(function* () {
      const listener = yield* pool.listen({
        framer,
        on: "main",
        at: { host: "127.0.0.1", port: 0 }
      })
      const to = { host: "127.0.0.1", port: listener.port }
      const lane = yield* pool.connect({ framer, on: "main", to })
      const echo = yield* listener.accept
      echo.onFrames((batch) => {
        for (let i = 0; i < batch.count; i++) echo.send(batch.copy(i))
      })
      return yield* tripOf("own-trip", lane)
    })
  )
