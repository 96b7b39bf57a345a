/**
 * Goal: what ends is booked where it belongs: writes before a failed one have not arrived, a stall
 * of an old link is not one of the link after it, a fault of the local card is not one of the
 * peer's, a card that a peer has no more is not used, and jobs take turns.
 * Method: the parts by themselves, or engines on a simulated fabric.
 */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import type { EngineContext } from "../../../src/actors/transfer/internal/engineContext.ts"
import { NicScheduler } from "../../../src/actors/transfer/internal/nicScheduler.ts"
import { type Buffer, Slice } from "../../../src/actors/transfer/internal/slicing.ts"
import { StallDetector } from "../../../src/actors/transfer/internal/posting.ts"
import { Work } from "../../../src/actors/transfer/internal/posting.ts"
import { WriteConfirmations } from "../../../src/actors/transfer/internal/writeConfirmation.ts"
import type { Rail } from "../../../src/actors/transfer/internal/rail.ts"
import type { Nic } from "../../../src/actors/rdma/Nic.ts"
import { Completion, type CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import type { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, pair, shared, timed } from "./harness.ts"

const kilo = 1 << 10
const seeds = { seeds: 10 }
const exact = { seeds: 10, timerSlack: 0 }

describe("blame", () => {
  /** Three writes on one queue pair, and a confirming read that covers the first two. */
  const covered = () => {
    const heard: Array<string> = []
    const confirmations = new WriteConfirmations({
      postConfirmingRead: () => "accepted",
      onEnded: () => undefined,
      onArrived: (_, { slice }) => void heard.push(`${slice!.at} arrived`),
      onFailed: (_, { slice }, { status }) => void heard.push(`${slice!.at} ${status}`)
    })
    const [rail, link] = [{} as Rail, {} as ReadyLink]
    const writes = [0, 1, 2].map((at) => {
      const slice = Object.assign(new Slice(), { at })
      return Object.assign(new Work(), { rail, link, slice })
    })
    for (const write of writes) confirmations.onWritePosted(write)
    const unconfirmed = writes[0]!.writes!
    const read = Object.assign(new Work(), { writes: unconfirmed, number: 2 })
    return { confirmations, heard, read, unconfirmed, writes }
  }
  const endOf = (status: Completion["status"]) => Object.assign(new Completion(), { status })

  it.effect("R16: writes before one that failed have not arrived", () =>
    Effect.sync(() => {
      const { confirmations, heard, unconfirmed, writes } = covered()
      confirmations.onWriteCompleted(writes[1]!, unconfirmed, endOf("retry-exceeded"))
      assert.deepStrictEqual(heard, ["0 flushed", "1 retry-exceeded"])
    })
  )

  it.effect("R16: an answer stands for the writes before it, and for no others", () =>
    Effect.sync(() => {
      const { confirmations, heard, read, unconfirmed } = covered()
      confirmations.onConfirmed(read, unconfirmed, endOf("success"))
      assert.deepStrictEqual(heard, ["0 arrived", "1 arrived"])
    })
  )

  it.effect("R16: a question that the peer refuses names a write if all use one key", () =>
    Effect.sync(() => {
      for (const [status, each, ofOneKey = each] of [
        ["remote-access", "flushed", "remote-access"],
        ["local-protection", "flushed"],
        ["retry-exceeded", "retry-exceeded"],
        ["flushed", "flushed"]
      ] as const) {
        for (const isOne of [true, false]) {
          const { confirmations, heard, read, unconfirmed, writes } = covered()
          for (const [index, { slice }] of writes.entries()) {
            const incarnation = isOne ? "one" : `${index}`
            slice!.found.buffer = { incarnation } as Buffer
          }
          confirmations.onConfirmed(read, unconfirmed, endOf(status))
          const ended = isOne ? ofOneKey : each
          assert.deepStrictEqual(heard, [`0 ${ended}`, `1 ${ended}`], status)
        }
      }
    })
  )

  it.sim("R26: a stall of a link that is given up is not one of the link after it", exact, () =>
    Effect.gen(function* () {
      const lost: Array<string> = []
      const looks: Array<Effect.Effect<void>> = []
      const engine = {
        now: () => 20_000,
        settings: { stallAfterMs: 10_000 },
        fork: (effect: Effect.Effect<void>) => void looks.push(effect)
      } as unknown as EngineContext
      const [old, next] = [{}, {}] as unknown as readonly [ReadyLink, ReadyLink]
      const onLinkLost = (_: Rail, { status }: { status: string }) => void lost.push(status)
      const rail = { progressAt: 0, link: next, peer: { onLinkLost } } as unknown as Rail
      const work = Object.assign(new Work(), { rail, link: old })
      new StallDetector(engine, new Map([[1, work]])).watch()
      yield* Effect.forkChild(looks[0]!)
      yield* Effect.sleep("6 seconds")
      assert.deepStrictEqual(lost, [])
      work.link = next
      yield* Effect.sleep("5 seconds")
      assert.deepStrictEqual(lost, ["stalled"])
    })
  )

  it.effect("R26: a question on a link that is given up says nothing of the link after it", () =>
    Effect.gen(function* () {
      for (const isSame of [true, false]) {
        const lost: Array<string> = []
        const ids: Array<number> = []
        const news = yield* Queue.unbounded<void>()
        const completions = {
          capacity: 8,
          reserved: 0,
          ready: Queue.take(news),
          poll: (batch: CompletionBatch) => {
            batch.count = ids.length
            const id = ids.shift()
            if (id !== undefined) Object.assign(batch.at(0), { id, status: "flushed" })
            return batch.count
          }
        }
        const device = { events: Stream.never }
        const nic = { path: "a@x", acknowledges: true, completions, device, reopened: Effect.never }
        const engine = {
          now: () => 0,
          settings: { quantum: 4, stallAfterMs: 1_000 },
          fork: () => undefined,
          faultWindow: () => undefined,
          context: Context.empty()
        }
        const posted: Array<number> = []
        const post = ({ id }: SendRequest) => posted.push(id) > 0 && "accepted"
        const linkOf = () => ({ isOpen: true, room: 4, roomiest: 1, post }) as unknown as ReadyLink
        const [old, next] = [linkOf(), linkOf()]
        const peer = {
          next: () => false,
          dispatch: () => undefined,
          onLinkLost: (_: Rail, { status }: { status: string }) => void lost.push(status)
        }
        const rail = { link: old, posted: 0, isOpen: true, peer } as unknown as Rail
        const scheduler = new NicScheduler(
          0,
          nic as unknown as Nic,
          engine as unknown as EngineContext
        )
        yield* Effect.forkChild(scheduler.run(Effect.void))
        const answer = yield* Effect.forkChild(scheduler.probe(rail), { startImmediately: true })
        assert.lengthOf(posted, 1)
        if (!isSame) rail.link = next
        ids.push(posted[0]!)
        yield* Queue.offer(news, undefined)
        assert.isFalse(yield* Fiber.join(answer))
        // The answer is told in the middle of the batch.
        yield* Effect.yieldNow
        assert.deepStrictEqual(lost, isSame ? ["flushed"] : [])
      }
    })
  )

  it.sim("R26: a link that was at rest has its whole time when it is used again", exact, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair({ wires: { timeout: 0 } })
      const own = yield* shared(a, "own", kilo, 1)
      const kept = yield* shared(b, "kept", kilo)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* write
      yield* Effect.sleep("1 minute")
      kept.bytes.fill(0)
      // Slow, but not for as long as a stall takes.
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: 3_600_000, millis: 7_000 })
      const { millis } = yield* timed(write)
      assert.isTrue(millis >= 7_000 && millis < 8_000, `${millis}`)
      assert.deepStrictEqual(net.retired, [])
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R25: a fault of the local card is not booked on the peer's", exact, () =>
    Effect.gen(function* () {
      const settings = { sliceBytes: 4 * kilo, faults: 1, pauseMs: 30_000 }
      const { a, b, fabric } = yield* pair({ devices: ["x", "y"], settings, wires: { depth: 4 } })
      const own = yield* shared(a, "own", 256 * kilo, 1)
      const kept = yield* shared(b, "kept", 256 * kilo)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* write
      fabric.strike({ _tag: "DeviceRemoval", node: "a/x", forMillis: 3_600_000 })
      yield* Effect.sleep(10)
      // What is left has to use the card of the peer that the removed one had a link to.
      fabric.strike({ _tag: "Cut", from: "a/y", to: "b/y", forMillis: 3_600_000 })
      kept.bytes.fill(0)
      const { millis } = yield* timed(write)
      assert.isBelow(millis, 2_000)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("T7: work goes on if all ways of the cards that are left are paused", seeds, () =>
    Effect.gen(function* () {
      const faulty = { faults: 2, faultsWithinMs: 60_000, unreachableAfterMs: 600_000 }
      const settings = { sliceBytes: 4 * kilo, ...faulty }
      const { a, b, fabric } = yield* pair({ devices: ["x", "y"], settings, wires: { depth: 4 } })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const kept = yield* shared(b, "kept", 64 * kilo)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* write
      fabric.strike({ _tag: "DeviceRemoval", node: "a/x", forMillis: 3_600_000 })
      yield* Effect.sleep(10)
      fabric.strike({ _tag: "Cut", from: "a/y", to: "b", forMillis: 4_000 })
      kept.bytes.fill(0)
      assert.isBelow((yield* timed(write)).millis, 40_000)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R33: a link to a card that its peer has no more is not used", seeds, () =>
    Effect.gen(function* () {
      const go = Deferred.makeUnsafe<void>()
      const used = new Set<string>()
      const onPost = ({ peer }: ReadyLink) => void used.add(peer)
      const obstacle = (_: string, peer: string) =>
        peer === "b@x" ? Deferred.await(go) : Effect.void
      const wires = { obstacle, onPost, depth: 2 }
      const lab = yield* pair({ devices: ["x", "y"], settings: { sliceBytes: kilo }, wires })
      const { a, b, fabric, net } = lab
      const own = yield* shared(a, "own", 256 * kilo, 1)
      const kept = yield* shared(b, "kept", 256 * kilo)
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: 10_000, millis: 5 })
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(write)
      yield* Effect.sleep("50 millis")
      // It is told of anew while its first card is still being connected.
      const { buffers, nics } = yield* b.description
      const left = buffers.map((one) => Object.assign({}, one, { keys: one.keys.slice(1) }))
      net.said.set("b", { nics: nics.slice(1), buffers: left })
      yield* Effect.flip(a.write({ peer: "b", from: own.slice(), to: { buffer: "other" } }))
      used.clear()
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(moving)
      assert.deepStrictEqual([...used], ["b@y"])
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R30: jobs with one peer take turns", seeds, () =>
    Effect.gen(function* () {
      const wires = { queuePairs: 1, depth: 4 }
      const { a, b, fabric } = yield* pair({ settings: { sliceBytes: kilo }, wires })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      yield* shared(b, "kept", 64 * kilo)
      yield* a.warm("b")
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: 10_000, millis: 5 })
      const ops = [{ op: "write", from: own.slice(), to: { buffer: "kept" } }] as const
      const all = yield* Effect.replicateEffect(a.start({ peer: "b", ops }), 4)
      yield* Effect.raceAllFirst(all.map(({ done }) => done))
      for (const { progress } of all) {
        const head = yield* Stream.runHead(progress)
        assert.isTrue(head._tag === "Some" && head.value.moved > 48 * kilo)
      }
    })
  )
})
