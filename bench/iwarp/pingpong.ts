/** The round trip of one message of 64 bytes to another process and back. */
import { execFile, spawn } from "node:child_process"
import * as net from "node:net"
import * as Effect from "effect/Effect"
import type { Outcome } from "../harness.ts"
import { median } from "../statistics.ts"
import { layer, type On } from "./ends.ts"
import { connected, elsewhere } from "./writes.ts"

/** Trips of a run; the first half warms up, since a function is compiled after some thousands. */
const trips = 40_000
const bytes = 64

const outcome = (times: ReadonlyArray<number>): Record<string, Outcome> => {
  const counted = { completed: times.length, expected: trips }
  return { pingpong: { value: median(times.slice(trips / 2)), unit: "µs", ...counted } }
}

/** Sends by iWARP; where both ends have their sockets is the same. */
export const byIwarp = (on: On, crc: boolean): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { own } = yield* connected(on, crc)
      const times: Array<number> = []
      for (let trip = 0; trip < trips; trip++) {
        own.toReceive()
        const start = performance.now()
        own.send()
        while ((yield* own.messages) === 0);
        times.push((performance.now() - start) * 1000)
      }
      return outcome(times)
    }).pipe(Effect.scoped, Effect.provide(layer(on, crc)))
  )

/** The same by `node:net`, read with `onread` on both sides. */
export const byNet = async (): Promise<Record<string, Outcome>> => {
  const port = await elsewhere(new URL("./netPeer.ts", import.meta.url), "echo")
  const message = new Uint8Array(bytes)
  let heard: (() => void) | undefined
  const onread = {
    buffer: new Uint8Array(65_536),
    callback: () => {
      heard?.()
      return true
    }
  }
  const socket = net.connect({ host: "127.0.0.1", port, noDelay: true, onread })
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()))
  const times: Array<number> = []
  for (let trip = 0; trip < trips; trip++) {
    const start = performance.now()
    const answered = new Promise<void>((resolve) => (heard = resolve))
    socket.write(message)
    await answered
    times.push((performance.now() - start) * 1000)
  }
  return outcome(times)
}

/** libfabric's own program over its TCP provider; it reports half a trip. */
export const byLibfabric = async (): Promise<Record<string, Outcome>> => {
  const args = ["-p", "tcp", "-e", "msg", "-S", String(bytes), "-I", String(trips)]
  const server = spawn("fi_pingpong", args)
  process.on("exit", () => server.kill())
  await new Promise((resolve) => setTimeout(resolve, 500))
  const text = await new Promise<string>((resolve, reject) => {
    execFile("fi_pingpong", [...args, "127.0.0.1"], (error, stdout) =>
      error === null ? resolve(stdout) : reject(error)
    )
  })
  const columns = text.trim().split("\n").at(-1)!.trim().split(/\s+/)
  const value = Number(columns.at(-2)) * 2
  const completed = Number.isFinite(value) ? trips : 0
  return { pingpong: { value, unit: "µs", completed, expected: trips } }
}
