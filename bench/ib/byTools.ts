/** The same writes and messages by Debian's own programs, each a server and a client. */
import { execFile, spawn } from "node:child_process"
import type { Outcome } from "../harness.ts"
import { latencyBytes, trips, writes } from "./sizes.ts"

const device = ["-d", process.env["DEVICE"] ?? "rxe0"]

const attempt = (program: string, args: ReadonlyArray<string>): Promise<string | undefined> =>
  new Promise((resolve) => {
    execFile(program, [...args], (error, stdout) => resolve(error === null ? stdout : undefined))
  })

/** Runs both ends; the client is refused until the server listens. Returns what it printed. */
const runBoth = async (program: string, args: ReadonlyArray<string>): Promise<string> => {
  const server = spawn(program, [...args], { stdio: "ignore" })
  const ended = new Promise((resolve) => server.once("exit", resolve))
  try {
    while (server.exitCode === null) {
      const printed = await attempt(program, [...args, "localhost"])
      if (printed !== undefined) return printed
    }
    throw new Error(`${program} ended with ${server.exitCode}`)
  } finally {
    server.kill()
    await ended
  }
}

/** The columns of the line of figures that perftest prints last. */
const perftest = async (program: string, bytes: number, count: number) => {
  const sized = ["-x", "1", "-F", "-s", String(bytes), "-n", String(count)]
  const units = program.endsWith("bw") ? ["--report_gbits"] : []
  const printed = await runBoth(program, [...device, ...sized, ...units])
  const line = printed.split("\n").findLast((line) => /^\s*\d+\s+\d+\s/.test(line)) ?? ""
  return line.trim().split(/\s+/).map(Number)
}

const latency = async (program: string): Promise<Outcome> => {
  const [, completed = 0, , , , value = Number.NaN] = await perftest(program, latencyBytes, trips)
  return { value, unit: "µs", completed, expected: trips }
}

export const byPerftest = async (): Promise<Record<string, Outcome>> => {
  const outcomes: Record<string, Outcome> = {
    "send-latency": await latency("ib_send_lat"),
    "write-latency": await latency("ib_write_lat")
  }
  for (const [size, [bytes, expected]] of Object.entries(writes)) {
    const [, completed = 0, , gigabits = Number.NaN] = await perftest(
      "ib_write_bw",
      bytes,
      expected
    )
    outcomes[`write-${size}`] = { value: gigabits * 125, unit: "MB/s", completed, expected }
  }
  return outcomes
}

/** It prints the time of whole trips. */
export const byPingpong = async (): Promise<Record<string, Outcome>> => {
  const args = ["-g", "1", "-s", String(latencyBytes), "-n", String(trips)]
  const printed = await runBoth("ibv_rc_pingpong", [...device, ...args])
  const [, completed = "0", micros = ""] =
    /(\d+) iters in [\d.]+ seconds = ([\d.]+) usec/.exec(printed) ?? []
  const value = Number(micros) / 2
  return { "send-latency": { value, unit: "µs", completed: Number(completed), expected: trips } }
}
