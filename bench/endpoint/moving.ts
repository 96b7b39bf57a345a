/** What transfers cost over what carries them, and what waiting for a peer costs. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { once } from "node:events"
import * as net from "node:net"
import { TransferEngine } from "../../src/actors/transfer/TransferEngine.ts"
import { TransferNode, type Settings } from "../../src/actors/transfer/TransferNode.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { Relay } from "../../src/cli/demo/relay.ts"
import type { Address } from "../../src/native/verbs/Connection.ts"
import * as IwarpVerbs from "../../src/native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../src/native/verbs/Verbs.ts"
import { memoryBytes } from "../iwarp/memory.ts"
import { byIwarp, elsewhere, sizes, timed } from "../iwarp/writes.ts"
import type { Outcome } from "../harness.ts"

/** Runs of which the median counts: the first ones compile, and others do not have it quiet. */
const times = 3
const [SLICE, SLICES] = sizes["64k"]

const verbsOf = (route?: (to: Address) => Address) =>
  IwarpVerbs.layer({ crc: false, pool: { workers: 1 }, route })

const over = (verbs: ReturnType<typeof verbsOf>, options: Partial<Settings>) =>
  TransferNode.layer({
    host: "127.0.0.1",
    peers: ["127.0.0.1"],
    // As many as the provider has by itself.
    endpoints: { rules: { queuePairs: 1 } },
    handshake: { port: 0 },
    ...options
  }).pipe(Layer.provide([verbs, Journal.layerMemory]))

/** A node of this process. */
export const node = over(verbsOf(), {})

/** Writes of 64 KiB by the provider alone. */
export const byProvider = () => byIwarp("worker", false, ["64k"], times)

/** The same bytes as transfers of 4 MiB, 32 at a time, in slices of 64 KiB. */
export const byEngine = (): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const port = yield* Effect.promise(() => elsewhere(new URL("./peer.ts", import.meta.url)))
      const engine = yield* TransferEngine
      const own = yield* engine.register({ memory: memoryBytes })
      own.bytes.fill(1)
      const whole = 4 << 20
      const transfers = memoryBytes / whole
      const write = (index: number) =>
        engine.write({
          peer: `127.0.0.1:${port}`,
          from: own.slice((index % transfers) * whole, whole),
          to: { buffer: "inbox", offset: (index % transfers) * whole }
        })
      const run = (count: number) => {
        const all = Array.from({ length: count }, (_, index) => write(index))
        return Effect.map(Effect.all(all, { concurrency: 32 }), (moved) =>
          moved.reduce((sum, { bytes }) => sum + bytes / SLICE, 0)
        )
      }
      const count = Math.floor((SLICES * SLICE) / whole)
      yield* run(count / 2)
      const [seconds, completed] = yield* timed(times, run(count))
      const value = (count * whole) / seconds / 1e6
      const expected = (times * count * whole) / SLICE
      return { "write-64k": { value, unit: "MB/s", completed, expected } }
    }).pipe(Effect.scoped, Effect.provide(node))
  )

/** A peer that takes connections and says nothing, while a transfer waits for it. */
export const waiting = (): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const silent = net.createServer().listen(0, "127.0.0.1")
      yield* Effect.promise(() => once(silent, "listening"))
      const { port } = silent.address() as net.AddressInfo
      const engine = yield* TransferEngine
      const own = yield* engine.register({ memory: 4096 })
      const peer = `127.0.0.1:${port}`
      const from = own.slice()
      yield* Effect.forkScoped(engine.write({ peer, from, to: { buffer: "inbox" } }))
      yield* Effect.sleep("1 second")
      const before = process.cpuUsage()
      const seconds = 5
      yield* Effect.sleep(1000 * seconds)
      const { system, user } = process.cpuUsage(before)
      silent.close()
      const value = (100 * (system + user)) / 1e6 / seconds
      return { waiting: { value, unit: "% of a core", completed: 1, expected: 1 } }
    }).pipe(Effect.scoped, Effect.provide(node))
  )

/** How long after a cut of a second the first bytes move again. */
export const healing = (): Promise<Record<string, Outcome>> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const relay = yield* Effect.acquireRelease(
        Effect.sync(() => new Relay()),
        (relay) => Effect.sync(() => relay.close())
      )
      const relayed = new Map<number, number>()
      const through = (to: Address): Address => ({
        host: to.host,
        port: relayed.get(to.port) ?? to.port
      })
      const engine = { stallAfterMs: 500, unreachableAfterMs: 60_000 }
      /** A provider whose queue pairs are met through the relay. */
      const relayedVerbs = Effect.gen(function* () {
        const provider = Context.get(yield* Layer.build(verbsOf(through)), Verbs)
        const device = yield* provider.open("lo")
        const { lid } = yield* device.port()
        relayed.set(lid, yield* Effect.promise(() => relay.open(() => lid)))
        return Layer.succeed(Verbs, { ...provider, open: () => Effect.succeed(device) })
      })
      const there = yield* Layer.build(over(yield* relayedVerbs, { engine }))
      const { server: peer } = Context.get(there, TransferNode)
      const port = Number(peer.split(":")[1])
      const at = yield* Effect.promise(() => relay.open(() => port))
      const locate = () => Effect.succeed({ host: "127.0.0.1", port: at })
      const here = yield* Layer.build(over(yield* relayedVerbs, { engine, calls: { locate } }))
      const inbox = Context.get(there, TransferEngine)
      yield* inbox.register({
        name: "inbox",
        memory: 4096,
        access: ["remote-write", "local-write"]
      })
      const outbox = Context.get(here, TransferEngine)
      const own = yield* outbox.register({ memory: 4096 })
      const write = outbox.write({ peer, from: own.slice(), to: { buffer: "inbox" } })
      yield* write
      relay.cut(1_000)
      const start = performance.now() + 1_000
      // What is wanted while nothing gets through waits for its turn.
      yield* Effect.delay(write, "100 millis")
      const value = performance.now() - start
      return { healed: { value, unit: "ms", completed: 1, expected: 1 } }
    }).pipe(Effect.scoped)
  )
