/** Bandwidth of writes into a peer's memory: by iWARP, by `node:net`, and by a program in C. */
import { execFileSync, fork, spawn } from "node:child_process"
import { mkdtempSync } from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import { SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import type { Outcome } from "../harness.ts"
import { median } from "../statistics.ts"
import { end, layer, type On } from "./ends.ts"
import { memoryBytes } from "./memory.ts"

/** Chunks, and how many of them are a run: about a second. */
export const sizes = {
  "4k": [4096, 300_000],
  "64k": [65_536, 30_000],
  "1m": [1 << 20, 2_000]
} as const

type Size = keyof typeof sizes

const names = Object.keys(sizes) as ReadonlyArray<Size>

/** Chunks of `node:net` that are under way at once, as many as iWARP has. */
const underWay = 256

const outcome = (
  size: Size,
  seconds: number,
  completed: number,
  times = 1
): Record<string, Outcome> => {
  const [bytes, count] = sizes[size]
  const value = (bytes * count) / seconds / 1e6
  return { [`write-${size}`]: { value, unit: "MB/s", completed, expected: times * count } }
}

/** Runs something so many times: the median of the seconds, and all that was completed. */
export const timed = Effect.fnUntraced(function* <E, R>(
  times: number,
  run: Effect.Effect<number, E, R>
) {
  const seconds: Array<number> = []
  let completed = 0
  for (let left = times; left > 0; left--) {
    const start = performance.now()
    completed += yield* run
    seconds.push((performance.now() - start) / 1000)
  }
  return [median(seconds), completed] as const
})

/** Starts the other process and gives its port. */
export const elsewhere = (module: URL, ...args: ReadonlyArray<string>): Promise<number> => {
  const child = fork(fileURLToPath(module), args)
  process.on("exit", () => child.kill())
  return new Promise((resolve) =>
    child.once("message", ({ port }: { readonly port: number }) => resolve(port))
  )
}

/** An own end, connected to one in another process. */
export const connected = Effect.fnUntraced(function* (on: On, crc: boolean) {
  const port = yield* Effect.promise(() =>
    elsewhere(new URL("./peer.ts", import.meta.url), on, crc ? "crc" : "plain")
  )
  const own = yield* end
  const to = { host: "127.0.0.1", port }
  return { own, connection: yield* own.device.connect({ to, queuePair: own.queuePair }) }
})

const memoryOf = (privateData: Uint8Array) => {
  const view = new DataView(privateData.buffer, privateData.byteOffset)
  return { key: view.getUint32(0), address: view.getFloat64(4) }
}

/**
 * Writes by iWARP; a message behind them, and its answer, tell that all are in place. Of so many
 * `times` the median counts.
 */
export const byIwarp = (
  on: On,
  crc: boolean,
  wanted: ReadonlyArray<Size> = names,
  times = 1
): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { connection, own } = yield* connected(on, crc)
      const { address, key } = memoryOf(connection.privateData)
      const write = new SendRequest()
      write.opcode = "write"

      const run = Effect.fnUntraced(function* (bytes: number, count: number) {
        own.toReceive()
        let posted = 0
        while (posted < count) {
          const at = (posted * bytes) % memoryBytes
          write.scatterList.clear().add(own.region, at, bytes)
          write.signalled = posted % 16 === 15 || posted === count - 1
          if (own.queuePair.post(write.remote(key, address + at)) === "accepted") posted += 1
          else yield* own.messages
        }
        while (own.queuePair.outstandingSends > 0) yield* own.messages
        own.send()
        while ((yield* own.messages) === 0);
        return posted
      })

      const outcomes: Array<Record<string, Outcome>> = []
      for (const size of wanted) {
        const [bytes, count] = sizes[size]
        // What is compiled late is compiled after half a run.
        yield* run(bytes, count / 2)
        outcomes.push(outcome(size, ...(yield* timed(times, run(bytes, count))), times))
      }
      return Object.assign({}, ...outcomes) as Record<string, Outcome>
    }).pipe(Effect.scoped, Effect.provide(layer(on, crc)))
  )

/** The same chunks by `node:net`, read with `onread`, the fast way, in the other process. */
export const byNet = async (): Promise<Record<string, Outcome>> => {
  const port = await elsewhere(new URL("./netPeer.ts", import.meta.url), "sink")
  const memory = new Uint8Array(new SharedArrayBuffer(memoryBytes)).fill(1)
  const run = async (bytes: number, count: number): Promise<number> => {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    const total = Buffer.alloc(8)
    total.writeDoubleLE(bytes * count)
    socket.write(total)
    let [sent, flying] = [0, 0]
    const done = new Promise<number>((resolve) => socket.once("data", () => resolve(sent)))
    const pump = (): void => {
      while (sent < count && flying < underWay) {
        const at = (sent * bytes) % memoryBytes
        sent += 1
        flying += 1
        socket.write(memory.subarray(at, at + bytes), () => {
          flying -= 1
          pump()
        })
      }
    }
    pump()
    const completed = await done
    socket.destroy()
    return completed
  }
  const outcomes: Array<Record<string, Outcome>> = []
  for (const size of names) {
    const [bytes, count] = sizes[size]
    await run(bytes, count / 2)
    const start = performance.now()
    const completed = await run(bytes, count)
    outcomes.push(outcome(size, (performance.now() - start) / 1000, completed))
  }
  return Object.assign({}, ...outcomes) as Record<string, Outcome>
}

/** The same chunks by `write` and `read` of a program in C, compiled here. */
export const byC = async (): Promise<Record<string, Outcome>> => {
  const program = join(mkdtempSync(join(tmpdir(), "handfast-bench-")), "stream")
  const source = fileURLToPath(new URL("./stream.c", import.meta.url))
  execFileSync("cc", ["-O2", "-o", program, source])
  const outcomes: Array<Record<string, Outcome>> = []
  for (const size of names) {
    const [bytes, count] = sizes[size]
    const child = spawn(program, [String(bytes), String(count)])
    let text = ""
    for await (const chunk of child.stdout) text += String(chunk)
    const [completed = 0, seconds = Number.NaN] = text.split(" ").map(Number)
    outcomes.push(outcome(size, seconds, completed))
  }
  return Object.assign({}, ...outcomes) as Record<string, Outcome>
}
