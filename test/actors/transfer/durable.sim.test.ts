/**
 * Goal: a durable transfer that was accepted is done once its caller hears so, whatever happens to
 * the process; what a crash leaves is taken up again; and one id is one transfer.
 * Method: an engine with a journal in a simulated process that crashes, against a peer that does
 * not.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { makeMemory } from "../../../src/actors/kernel/internal/memoryJournal.ts"
import type { Memory } from "../../../src/actors/rdma/Memory.ts"
import { TransferFailed } from "../../../src/actors/transfer/TransferError.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Chaos, Faults, FaultyJournal, Sim } from "../../../src/testing/index.ts"
import { it } from "../../../src/testing/vitest.ts"
import { wideOr } from "../../wide.ts"
import { differsAt, host, network, pattern, shared, timed } from "./harness.ts"

const kilo = 1 << 10
const hour = 3_600_000

const scene = Effect.fnUntraced(function* () {
  const fabric = yield* SimFabric.make()
  const net = yield* network({ depth: 8 })
  const store = makeMemory()
  const b = yield* host(net, "b", SimVerbs.layer(fabric, { host: "b" }))
  const kept = yield* shared(b, "kept", 64 * kilo)
  /** A life of `a`, over the same disk. */
  const life = (journal = store) =>
    host(net, "a", SimVerbs.layer(fabric, { host: "a" }), {
      journal,
      settings: { sliceBytes: kilo }
    })
  return { fabric, net, store, b, kept, life }
})

const write = (own: Memory, id: string, from = 0, length = 64 * kilo) => ({
  id,
  peer: "b",
  durable: true as const,
  ops: [
    { op: "write" as const, from: own.slice(from, length), to: { buffer: "kept", offset: from } }
  ]
})

describe("a durable transfer", () => {
  it.sim("is taken up again after a crash, when its memory is there again", { seeds: 30 }, () =>
    Effect.gen(function* () {
      const { fabric, kept, life, net } = yield* scene()
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 20 })
      let isFirst = true
      const program = Effect.gen(function* () {
        const engine = yield* life()
        // The second life asks for nothing.
        if (isFirst) {
          isFirst = false
          yield* Effect.forkScoped(
            engine.transfer(write(yield* shared(engine, "own", 64 * kilo, 1), "t"))
          )
        } else {
          yield* Effect.sleep("1 second")
          assert.notStrictEqual(differsAt(pattern(64 * kilo, 1), kept.bytes), -1)
          yield* shared(engine, "own", 64 * kilo, 1)
        }
        return yield* Effect.never
      }).pipe(Effect.scoped)
      const process = yield* Sim.process("a", program)
      yield* Effect.sleep("30 millis")
      assert.isAbove(net.posts, 0)
      yield* process.restart
      yield* Effect.sleep("5 seconds")
      assert.strictEqual(differsAt(pattern(64 * kilo, 1), kept.bytes), -1)
    })
  )

  it.sim("is forgotten at its end where no end is to be kept", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { fabric, net, store } = yield* scene()
      const engine = yield* host(net, "a", SimVerbs.layer(fabric, { host: "a" }), {
        journal: store,
        settings: { endedMax: 0, pastMax: 0 }
      })
      const own = yield* shared(engine, "own", kilo, 1)
      yield* engine.transfer(write(own, "t", 0, kilo))
      const posts = net.posts
      yield* engine.transfer(write(own, "t", 0, kilo))
      assert.isAbove(net.posts, posts)
    })
  )

  it.sim("is one transfer for one id, also after a restart", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { life, net } = yield* scene()
      const before = yield* Scope.make()
      const first = yield* Scope.provide(life(), before)
      const own = yield* Scope.provide(shared(first, "own", 64 * kilo, 1), before)
      const twice = [1, 2].map(() => Effect.forkChild(first.transfer(write(own, "t"))))
      const [one, two] = yield* Effect.all(twice)
      const moved = { moved: 64 * kilo, bytes: 64 * kilo }
      assert.deepStrictEqual(yield* Fiber.join(one!), moved)
      assert.deepStrictEqual(yield* Fiber.join(two!), moved)
      assert.strictEqual(net.posts, 64)
      yield* Scope.close(before, Exit.void)
      const second = yield* life()
      const again = yield* shared(second, "own", 64 * kilo, 1)
      assert.deepStrictEqual(yield* second.transfer(write(again, "t")), moved)
      assert.strictEqual(net.posts, 64)
      const other = yield* Effect.flip(second.transfer(write(again, "t", 0, kilo)))
      assert.strictEqual(other._tag, "InvalidTransfer")
    })
  )

  it.sim("outlives the end of its engine, and of its caller", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { fabric, kept, life } = yield* scene()
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 20 })
      const before = yield* Scope.make()
      const first = yield* Scope.provide(life(), before)
      const own = yield* Scope.provide(shared(first, "own", 64 * kilo, 1), before)
      const caller = yield* Effect.forkChild(first.transfer(write(own, "t")))
      yield* Effect.sleep("30 millis")
      yield* Fiber.interrupt(caller)
      yield* Effect.sleep("9 millis")
      yield* Scope.close(before, Exit.void)
      assert.notStrictEqual(differsAt(pattern(64 * kilo, 1), kept.bytes), -1)
      const second = yield* life()
      yield* shared(second, "own", 64 * kilo, 1)
      yield* Effect.sleep("5 seconds")
      assert.strictEqual(differsAt(pattern(64 * kilo, 1), kept.bytes), -1)
    })
  )

  it.sim("ends with its error, once and for good", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { life, net } = yield* scene()
      const engine = yield* life()
      const own = yield* shared(engine, "own", 64 * kilo, 1)
      const wrong = {
        ...write(own, "t"),
        // Longer than its memory.
        ops: [{ op: "write" as const, from: own.slice(0, 65 * kilo), to: { buffer: "kept" } }]
      }
      const errors = [
        yield* Effect.flip(engine.transfer(wrong)),
        yield* Effect.flip(engine.transfer(wrong))
      ]
      assert.deepStrictEqual(
        errors.map(({ _tag }) => _tag),
        ["InvalidTransfer", "InvalidTransfer"]
      )
      const address = {
        ...write(own, "u"),
        ops: [{ op: "write" as const, from: own.slice(), to: { address: 1 } }]
      }
      assert.strictEqual((yield* Effect.flip(engine.transfer(address)))._tag, "InvalidTransfer")
      assert.strictEqual(net.posts, 0)
    })
  )

  it.sim("T12: that ended long ago is not moved again, also after a restart", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { fabric, kept, net, store } = yield* scene()
      const life = host(net, "a", SimVerbs.layer(fabric, { host: "a" }), {
        journal: store,
        settings: { endedMax: 2, sliceBytes: kilo }
      })
      const before = yield* Scope.make()
      const first = yield* Scope.provide(life, before)
      const own = yield* Scope.provide(shared(first, "own", 64 * kilo, 1), before)
      const late = yield* failed(first.transfer({ ...write(own, "late"), peer: "x", within: 50 }))
      assert.strictEqual(late.reason, "deadline")
      for (let index = 0; index < 300; index++) {
        yield* first.transfer(write(own, `t${index}`, 0, kilo))
      }
      yield* Scope.close(before, Exit.void)
      const second = yield* life
      yield* shared(second, "own", 64 * kilo, 1)
      kept.bytes.fill(0)
      const { posts } = net
      for (const index of [0, 1, 100, 299]) {
        const moved = yield* second.transfer(write(own, `t${index}`, 0, kilo))
        assert.deepStrictEqual(moved, { moved: kilo, bytes: kilo })
      }
      const again = yield* Effect.flip(second.transfer({ ...write(own, "late"), peer: "x" }))
      assert.strictEqual(again._tag, "InvalidTransfer")
      assert.include(again.message, "deadline")
      assert.strictEqual(net.posts, posts)
    })
  )

  it.sim("T12: that ended last is remembered longest", { seeds: 3 }, () =>
    Effect.gen(function* () {
      const { fabric, net, store } = yield* scene()
      const a = yield* host(net, "a", SimVerbs.layer(fabric, { host: "a" }), {
        journal: store,
        settings: { endedMax: 1, pastMax: 2, sliceBytes: kilo }
      })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const submit = (index: number) => a.transfer(write(own, `t${index}`, 0, kilo))
      for (let index = 0; index < 10; index++) yield* submit(index)
      const { posts } = net
      for (const index of [9, 8, 7, 6]) yield* submit(index)
      assert.strictEqual(net.posts, posts)
      // What is remembered is bounded: this one is another transfer by now.
      yield* submit(0)
      assert.strictEqual(net.posts, posts + 1)
    })
  )

  it.sim("is refused by an engine without a journal", { seeds: 1 }, () =>
    Effect.gen(function* () {
      const { b, kept } = yield* scene()
      const error = yield* Effect.flip(b.transfer(write(kept, "t")))
      assert.strictEqual(error._tag, "InvalidTransfer")
    })
  )
})

/** What a transfer failed with. */
const failed = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const error = yield* Effect.flip(effect)
  assert.instanceOf(error, TransferFailed)
  return error as unknown as TransferFailed
})

describe("the deadline of a durable transfer", () => {
  it.sim("R28: ends it, says what moved, and the end is durable", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { fabric, life, net } = yield* scene()
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 20 })
      const before = yield* Scope.make()
      const first = yield* Scope.provide(life(), before)
      const own = yield* Scope.provide(shared(first, "own", 64 * kilo, 1), before)
      const { value: error, millis } = yield* timed(
        failed(first.transfer({ ...write(own, "t"), within: 50 }))
      )
      assert.strictEqual(error.reason, "deadline")
      assert.isAbove(error.moved, 0)
      assert.isBelow(error.moved, error.bytes)
      // What was posted ends first.
      assert.isAtLeast(millis, 50)
      assert.isBelow(millis, 100)
      yield* Scope.close(before, Exit.void)
      const { posts } = net
      const second = yield* life()
      const again = yield* shared(second, "own", 64 * kilo, 1)
      assert.deepStrictEqual(
        { ...(yield* failed(second.transfer(write(again, "t")))) },
        { ...error }
      )
      assert.strictEqual(net.posts, posts)
    })
  )

  it.sim("R28: is that of its acceptance, also over a restart", { seeds: 10 }, () =>
    Effect.gen(function* () {
      const { fabric, kept, life, net } = yield* scene()
      fabric.strike({ _tag: "Cut", from: "a", to: "b", forMillis: 3_000 })
      const before = yield* Scope.make()
      const first = yield* Scope.provide(life(), before)
      const own = yield* Scope.provide(shared(first, "own", 64 * kilo, 1), before)
      yield* Effect.forkChild(first.transfer({ ...write(own, "t"), within: "5 seconds" }))
      yield* Effect.forkChild(first.transfer({ ...write(own, "u"), within: "1 hour" }))
      yield* Effect.sleep("2 seconds")
      yield* Scope.close(before, Exit.void)
      yield* Effect.sleep("3 seconds")
      const { posts } = net
      const second = yield* life()
      // Nobody waits for its memory any more.
      const error = yield* failed(second.transfer(write(own, "t")))
      assert.deepStrictEqual([error.reason, error.moved, error.bytes], ["deadline", 0, 64 * kilo])
      assert.deepStrictEqual(error.unfinished, [0])
      assert.strictEqual(net.posts, posts)
      yield* shared(second, "own", 64 * kilo, 1)
      yield* second.transfer(write(own, "u"))
      assert.strictEqual(differsAt(pattern(64 * kilo, 1), kept.bytes), -1)
    })
  )

  it.sim(
    "R28: holds while memory is waited for, and the first one of an id holds",
    { seeds: 10, timerSlack: 0 },
    () =>
      Effect.gen(function* () {
        const { life, net, store } = yield* scene()
        const before = yield* Scope.make()
        const first = yield* Scope.provide(life(), before)
        const own = yield* Scope.provide(shared(first, "own", 64 * kilo, 1), before)
        net.answers = Effect.never
        yield* Effect.forkChild(first.transfer({ ...write(own, "t"), within: "5 seconds" }))
        yield* Effect.sleep("1 second")
        yield* Scope.close(before, Exit.void)
        const second = yield* life(store)
        const { value: error, millis } = yield* timed(
          failed(second.transfer({ ...write(own, "t"), within: "1 hour" }))
        )
        assert.deepStrictEqual([error.reason, error.moved], ["deadline", 0])
        assert.include(error.message, "own")
        assert.strictEqual(millis, 4_000)
      })
  )

  it.sim("R28: is a day after its acceptance if it names none", { seeds: 1, timerSlack: 0 }, () =>
    Effect.gen(function* () {
      const { life, net } = yield* scene()
      const engine = yield* life()
      const own = yield* Effect.scoped(shared(engine, "own", kilo, 1))
      const { value: error, millis } = yield* timed(
        failed(engine.transfer(write(own, "t", 0, kilo)))
      )
      assert.strictEqual(error.reason, "deadline")
      assert.strictEqual(millis, 24 * hour)
      assert.strictEqual(net.posts, 0)
    })
  )

  it.sim("R28: is met also while the next try is waited for", { seeds: 3, timerSlack: 0 }, () =>
    Effect.gen(function* () {
      const { life } = yield* scene()
      const engine = yield* life()
      const own = yield* shared(engine, "own", kilo, 1)
      const target = { buffer: "not there yet" }
      const ops = [{ op: "write" as const, from: own.slice(), to: target }]
      for (const within of [100, 1_000, 7_000, 11_000, 23_000]) {
        const request = { ...write(own, `t${within}`), ops, within }
        const { millis, value } = yield* timed(failed(engine.transfer(request)))
        assert.strictEqual(value.reason, "deadline")
        assert.isTrue(millis >= within && millis <= within + 5, `${millis} instead of ${within}`)
      }
    })
  )

  it.sim("R28: that is no time is refused", { seeds: 1 }, () =>
    Effect.gen(function* () {
      const { life } = yield* scene()
      const engine = yield* life()
      const own = yield* shared(engine, "own", 64 * kilo, 1)
      const wrong = ["Infinity", Number.NaN, -1, 2 ** 60, "soon" as "1 second"] as const
      for (const within of wrong) {
        const error = yield* Effect.flip(engine.transfer({ ...write(own, "t"), within }))
        assert.strictEqual(error._tag, "InvalidTransfer", `${within}`)
      }
    })
  )
})

describe("the outage of a peer", () => {
  /** The peer ends, and begins again after a while; its memory is there some time after that. */
  const outage = (awayMillis: number, memoryMillis: number) =>
    Effect.gen(function* () {
      const { fabric, net } = yield* scene()
      const verbs = SimVerbs.layer(fabric, { host: "c" })
      const first = yield* Scope.make()
      const b = yield* Scope.provide(host(net, "c", verbs), first)
      yield* Scope.provide(shared(b, "kept", 64 * kilo), first)
      const a = yield* host(net, "a", SimVerbs.layer(fabric, { host: "a" }), {
        journal: makeMemory(),
        settings: { sliceBytes: kilo }
      })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      fabric.strike({ _tag: "Delay", from: "a", to: "c", forMillis: hour, millis: 20 })
      const request = { ...write(own, "t"), peer: "c", within: "1 day" as const }
      const moving = yield* Effect.forkChild(a.transfer(request))
      yield* Effect.sleep("30 millis")
      fabric.crash("c")
      net.engines.delete("c")
      net.nics.delete("c@sim0")
      yield* Scope.close(first, Exit.void)
      yield* Effect.sleep(awayMillis)
      const again = yield* host(net, "c", verbs)
      yield* Effect.sleep(memoryMillis)
      const kept = yield* shared(again, "kept", 64 * kilo)
      const { millis, value } = yield* timed(Fiber.join(moving))
      assert.isBelow(millis, 12_000)
      assert.strictEqual(value.moved, value.bytes)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      assert.deepStrictEqual(yield* a.transfer(request), value)
    })

  it.sim("T4: of 45 s does not end a durable transfer", { seeds: 5 }, () => outage(45_000, 0))
  it.sim("T4: ends when its memory is there, which may be later", { seeds: 5 }, () =>
    outage(1_000, 2_000)
  )
  it.sim("T4: of some minutes does not end it either", { seeds: 5 }, () => outage(300_000, 60_000))

  it.sim("T4: on the way to it, for 60 s, burns no attempt and no id", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { fabric, kept, life } = yield* scene()
      const a = yield* life()
      const own = yield* shared(a, "own", 64 * kilo, 1)
      fabric.strike({ _tag: "Cut", from: "a", to: "b", forMillis: 60_000 })
      const moving = yield* Effect.forkChild(a.transfer(write(own, "t")))
      yield* Effect.sleep("61 seconds")
      const { millis } = yield* timed(Fiber.join(moving))
      assert.isBelow(millis, 12_000)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("T4: that outlasts the deadline is the failure's cause", { seeds: 5 }, () =>
    Effect.gen(function* () {
      const { fabric, life } = yield* scene()
      const a = yield* life()
      const own = yield* shared(a, "own", 64 * kilo, 1)
      fabric.strike({ _tag: "Cut", from: "a", to: "b", forMillis: hour })
      const request = { ...write(own, "t"), within: "2 minutes" as const }
      const { millis, value: error } = yield* timed(failed(a.transfer(request)))
      assert.deepStrictEqual([error.reason, error.bytes], ["deadline", 64 * kilo])
      assert.strictEqual(error.fault?.status, "retry-exceeded")
      assert.isAtLeast(millis, 120_000)
      assert.isBelow(millis, 123_000)
    })
  )
})

/** A process that writes its pieces one after the other, each under an id of its own. */
const crashing = Effect.gen(function* () {
  const { kept, life, net, store } = yield* scene()
  const disk = FaultyJournal.make(store)
  const heard = new Set<number>()
  const late = new Set<number>()
  const piece = 2 * kilo
  const program = Effect.gen(function* () {
    const engine = yield* life(disk)
    const own = yield* shared(engine, "own", 64 * kilo, 1)
    const submit = (index: number, id: string, within?: number) =>
      engine.transfer({ ...write(own, id, index * piece, piece), within }).pipe(
        Effect.tap(() => {
          heard.add(index)
          const at = index * piece
          const wanted = pattern(64 * kilo, 1).subarray(at, at + piece)
          // Whoever hears that it has moved finds it moved.
          assert.strictEqual(differsAt(wanted, kept.bytes.subarray(at)), -1)
          return Effect.sleep("50 millis")
        }),
        Effect.retry({
          while: ({ _tag }) => _tag === "Stopped" || _tag === "MailboxFull",
          times: 1000
        })
      )
    for (let index = 0; index < 32; index++) {
      if (heard.has(index)) continue
      // Some have little time; a piece that is late is submitted as another transfer.
      const hurried = submit(index, `hurried-${index}`, 200)
      const isLate = (error: { readonly _tag: string; readonly reason?: string }) => {
        assert.deepStrictEqual([error._tag, error.reason], ["TransferFailed", "deadline"])
        late.add(index)
        return submit(index, `piece-${index}`)
      }
      if (index % 2 === 0 && !late.has(index)) yield* Effect.catch(hurried, isLate)
      else yield* submit(index, `piece-${index}`)
    }
  }).pipe(Effect.scoped)
  const process = yield* Sim.process("a", program, { onFailure: { restartAfter: "100 millis" } })
  yield* Faults.random({ crash: "a", journal: true, within: "2 seconds" })
  yield* Effect.sleep("3 seconds")
  yield* Faults.heal
  yield* Sim.eventually(() => heard.size === 32, "60 seconds", "all pieces have moved")
  assert.isTrue(Exit.isSuccess(yield* process.exit))
  assert.strictEqual(differsAt(pattern(64 * kilo, 1), kept.bytes), -1)
  yield* Chaos.sometimes("there was a crash", (yield* process.starts) > 1)
  yield* Chaos.sometimes("pieces moved twice", net.posts > 64)
  yield* Chaos.sometimes("a deadline passed", late.size > 0)
})

describe("durable transfers of a process that crashes", () => {
  it.sim(
    "are done when they are said to be, and all get done",
    { seeds: wideOr(100, 30), timeout: 120_000 },
    () => crashing
  )
})
