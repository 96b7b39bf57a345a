/**
 * What an echo costs its server over mutual TLS: the server and its clients are processes of their
 * own, so the memory is that of the server alone.
 */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Outcome } from "../harness.ts"

const connections = 100
/** Half of them warm up. */
const messages = 20_000
const bytes = 128
const total = connections * messages

const start = (script: URL, ...args: ReadonlyArray<string | number>) => {
  const child = fork(fileURLToPath(script), args.map(String))
  process.on("exit", () => child.kill())
  return child
}

/** Runs one kind of server; its answers are counted where they arrive. */
export const echoBy = async (kind: "tls" | "lanes" | "take"): Promise<Record<string, Outcome>> => {
  const server = start(new URL("./echoServer.ts", import.meta.url), kind, total)
  const told: Array<unknown> = []
  let wake = (): void => {}
  server.on("message", (message) => {
    told.push(message)
    wake()
  })
  const next = async (): Promise<unknown> => {
    if (told.length === 0) await new Promise<void>((resolve) => (wake = resolve))
    return told.shift()
  }
  const port = Number(await next())
  const clients = new URL("./echoLoad.ts", import.meta.url)
  const load = start(clients, port, connections, messages, bytes)
  const completed = await new Promise<number>((resolve) => {
    load.once("message", (count) => resolve(Number(count)))
  })
  const { megabytes, nanos } = (await next()) as { nanos: number; megabytes: number }
  const counted = { completed, expected: total }
  return {
    "echo-cpu": { value: nanos, unit: "ns of all threads per message", ...counted },
    "echo-memory": { value: megabytes, unit: "MB at most", ...counted }
  }
}
