/**
 * What lanes take from the main thread, against `node:net` and `node:tls` on the main thread.
 */
import type { Bench, Outcome } from "./harness.ts"
import { acceptByPool, acceptByTls } from "./lanes/accept.ts"
import { byMessages, byPiscina, byRing } from "./lanes/handover.ts"
import { echoBy } from "./lanes/echoes.ts"
import { byLanes, byNet, byTls, serverTls } from "./lanes/receive.ts"
import { shortByLanes, shortByNet } from "./lanes/short.ts"
import { laneTrip, netTrip, ownTrip } from "./lanes/trip.ts"
import { wakes } from "./lanes/wakes.ts"

/** Frames of one run: several hundred megabytes, so that a run takes a second or so. */
const frames = { 256: 24_000_000, 2048: 4_000_000, tls: 400_000, ring: 2_000_000, clone: 400_000 }

/** What a lone frame's round trip takes longer when its lane lives in a worker. */
const trips = async (): Promise<Record<string, Outcome>> => {
  const { trip: main } = await laneTrip("main")
  const { trip: worker } = await laneTrip("worker")
  if (main === undefined || worker === undefined) throw new Error("no trip was measured")
  return { over: { ...worker, value: worker.value - main.value } }
}

export default {
  title: "lanes: main-thread CPU per frame and per accept, hand-over, lone round trip",
  notes: [
    "Load comes from another process. Frames of 256 and 2048 bytes over four connections, as",
    "fast as they are taken, in reads of 256 KiB for all; every frame is looked at on the main",
    "thread. `delay` is what 99 % of the work that comes at any moment of a storm of 500",
    "handshakes, all under way at once, waits at most. `trip` is to an echo in another process,",
    "`own-trip` to one on the same thread; `over` is what a worker adds to it. `message` and",
    "`wait-async` are two wake-ups between sleeping threads and nothing else: the least that a",
    "worker can add. `short` is what both ends of a connection cost together that carries one",
    "frame there and one back. `echo` is a server in a process of its own: 100 clients over mutual",
    "TLS, messages of 128 bytes in blocks of 100, four blocks of a client under way; `echo-lanes`",
    "answers batches, `echo-take` runs an Effect for each message. Its CPU is that of all threads,",
    "its memory that of the whole process, with the compiler of the sources."
  ].join(" "),
  timeout: 60,
  contestants: {
    "net-onread": async () => ({
      ...(await byNet("2k", 2048, frames[2048])),
      ...(await byNet("256", 256, frames[256]))
    }),
    pool: async () => ({
      ...(await byLanes("2k", 2048, frames[2048], { on: "worker" })),
      ...(await byLanes("256", 256, frames[256], { on: "worker" }))
    }),
    "tls-main": async () => ({
      ...(await byTls("tls", 2048, frames.tls)),
      ...(await acceptByTls())
    }),
    "tls-pool": async () => ({
      ...(await byLanes("tls", 2048, frames.tls, { on: "worker", tls: serverTls })),
      ...(await acceptByPool())
    }),
    ring: () => byRing(frames.ring),
    "messages-32": () => byMessages(frames.clone),
    piscina: () => byPiscina(frames.clone),
    "trip-net": netTrip,
    "trip-main": async () => ({ ...(await laneTrip("main")), ...(await ownTrip()) }),
    "trip-pool": () => laneTrip("worker"),
    "trip-over": trips,
    "short-net": shortByNet,
    "short-main": shortByLanes,
    wakes,
    "echo-tls": () => echoBy("tls"),
    "echo-lanes": () => echoBy("lanes"),
    "echo-take": () => echoBy("take")
  },
  claims: [
    { pair: ["cpu-2k/pool", "cpu-2k/net-onread"], bar: "<= 0.3" },
    { pair: ["cpu-256/pool", "cpu-256/net-onread"], bar: "<= 0.7" },
    { pair: ["rate-2k/pool", "rate-2k/net-onread"], bar: ">= 0.85" },
    { pair: ["rate-256/pool", "rate-256/net-onread"], bar: ">= 0.85" },
    { pair: ["accept/tls-pool", "accept/tls-main"], bar: "<= 0.02" },
    { figure: "delay/tls-pool", bar: "<= 20" },
    { figure: "delay/tls-main", bar: ">= 200" },
    { pair: ["echo-cpu/echo-lanes", "echo-cpu/echo-tls"], bar: "<= 1.3" },
    { pair: ["echo-memory/echo-lanes", "echo-memory/echo-tls"], bar: "<= 1.5" },
    { pair: ["cpu-tls/tls-pool", "cpu-tls/tls-main"], bar: "<= 0.1" },
    { pair: ["handover/ring", "handover/messages-32"], bar: ">= 3" },
    { pair: ["handover/ring", "handover/piscina"], bar: ">= 3" },
    { figure: "own-trip/trip-main", bar: "<= 30" },
    { figure: "over/trip-over", bar: "<= 30" }
  ]
} satisfies Bench
