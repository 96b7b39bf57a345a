/**
 * Goal: processes and disks fail as real ones do, plans shrink, chaos is quiet outside.
 * Method: small programs whose behaviour under each fault is known beforehand, with exact timers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Epochs } from "../../src/actors/kernel/Epochs.ts"
import { Journal } from "../../src/actors/kernel/Journal.ts"
import { CorruptRecord, type NewEvent } from "../../src/schema/JournalRecord.ts"
import { Chaos, FaultPlan, Faults, FaultyJournal, Sim, SimError } from "../../src/testing/index.ts"

const passes = Effect.fnUntraced(function* (
  program: Parameters<typeof Sim.explore>[0],
  settings: Sim.Settings = {}
) {
  const report = yield* Sim.explore(program, {
    seeds: 50,
    checkShare: 0.2,
    timerSlack: 0,
    ...settings
  })
  assert.strictEqual(report.failure?.message, undefined)
  return report
})

const tick = (log: Array<string>, every: number) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => log.push("finalizer")))
    for (;;) {
      yield* Effect.sleep(every)
      log.push(`${yield* Clock.currentTimeMillis}`)
    }
  }).pipe(Effect.onInterrupt(() => Effect.sync(() => log.push("interrupted"))))

describe("a process", () => {
  it.effect("is crashed without finalizers, and nothing of it runs afterwards", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const process = yield* Sim.process("ticker", tick(log, 10))
        yield* Effect.sleep(35)
        yield* process.crash
        assert.isFalse(yield* process.isRunning)
        yield* Effect.sleep(100)
        assert.deepStrictEqual(log, ["10", "20", "30"])
      })
    )
  )

  it.effect("that is interrupted or ends runs its finalizers: the twin of a crash", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const process = yield* Sim.process("ticker", Effect.timeoutOption(tick(log, 10), 25))
        yield* process.exit
        assert.deepStrictEqual(log, ["10", "20", "interrupted", "finalizer"])
        assert.isFalse(yield* process.isRunning)
      })
    )
  )

  it.effect("starts anew, with empty memory, when it is restarted", () =>
    passes(
      Effect.gen(function* () {
        const starts: Array<number> = []
        const process = yield* Sim.process(
          "counter",
          Effect.gen(function* () {
            const memory = yield* Ref.make(0)
            yield* Ref.update(memory, (n) => n + 1)
            starts.push(yield* Ref.get(memory))
            return yield* Effect.never
          })
        )
        yield* Effect.sleep(10)
        yield* process.restart
        yield* Effect.sleep(10)
        assert.deepStrictEqual(starts, [1, 1])
        assert.strictEqual(yield* process.starts, 2)
      })
    )
  )

  it.effect("can crash itself: not one more operation of it runs", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const self = yield* Ref.make<Effect.Effect<void>>(Effect.void)
        const process = yield* Sim.process(
          "suicidal",
          Effect.gen(function* () {
            yield* Effect.sleep(1)
            yield* Effect.flatten(Ref.get(self)).pipe(
              Effect.ensuring(Effect.sync(() => log.push("ensured")))
            )
            log.push("after")
          })
        )
        yield* Ref.set(self, process.crash)
        yield* Effect.sleep(10)
        assert.deepStrictEqual(log, [])
      })
    )
  )

  it.effect("does nothing while it is paused, and is late afterwards", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const process = yield* Sim.process("ticker", tick(log, 10))
        yield* Effect.sleep(15)
        yield* process.pause
        yield* Effect.sleep(100)
        assert.deepStrictEqual(log, ["10"])
        yield* process.resume
        yield* Effect.sleep(1)
        assert.deepStrictEqual(log, ["10", "115"])
      })
    )
  )

  it.effect("sees its own clock: a jump moves the wall clock only, a rate also its sleeps", () =>
    passes(
      Effect.gen(function* () {
        const seen: Array<string> = []
        const process = yield* Sim.process(
          "skewed",
          Effect.gen(function* () {
            for (;;) {
              yield* Effect.sleep(100)
              const monotonic = Number(yield* Clock.monotonicTimeNanos) / 1e6
              seen.push(`${yield* Clock.currentTimeMillis} ${monotonic}`)
            }
          })
        )
        yield* Effect.sleep(150)
        yield* process.skew({ jump: -1000 })
        yield* Effect.sleep(100)
        yield* process.skew({ rate: 2 })
        // A sleep that has begun keeps its length; the next ones take half of it.
        yield* Effect.sleep(140)
        assert.deepStrictEqual(seen, ["100 100", "-800 200", "-650 350", "-550 450"])
        assert.strictEqual(yield* Clock.currentTimeMillis, 390)
      })
    )
  )

  it.effect("S7: draws its epochs from a new source in each life", () =>
    passes(
      Effect.gen(function* () {
        const epochs: Array<string> = []
        const opens = Effect.gen(function* () {
          const source = yield* Epochs
          epochs.push(source.next(), source.next())
          return yield* Effect.never
        })
        const process = yield* Sim.process("opener", opens)
        yield* Effect.sleep(1)
        yield* process.restart
        yield* Effect.sleep(1)
        const [first, second, third, fourth] = epochs.map((epoch) => epoch.split(".")[0])
        assert.strictEqual(first, second)
        assert.strictEqual(third, fourth)
        assert.notStrictEqual(first, third)
      })
    )
  )

  it.effect("that fails makes the run fail, unless that was expected", () =>
    Effect.gen(function* () {
      const program = (options?: Parameters<typeof Sim.process>[2]) =>
        Effect.gen(function* () {
          const failing = Effect.andThen(Effect.sleep(5), Effect.fail("broken"))
          const process = yield* Sim.process("weak", failing, options)
          yield* Effect.sleep(950)
          return yield* process.starts
        })
      const report = yield* Sim.explore(program(), { seeds: 3 })
      assert.instanceOf(Cause.squash(report.failure!.cause), SimError.ProcessFailed)
      yield* passes(program({ onFailure: "stay-down" }))
      const run = yield* Sim.run(program({ onFailure: { restartAfter: 95 } }), {
        seed: 1,
        timerSlack: 0
      })
      assert.strictEqual(run.exit._tag === "Success" && run.exit.value, 10)
    })
  )

  it.effect("S7: that a test crashes or pauses after a fault stays so when the fault is over", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const process = yield* Sim.process("ticker", tick(log, 10))
        yield* Faults.install([
          { _tag: "Crash", process: "ticker", at: { millis: 5 }, restartAfter: 100 },
          { _tag: "Pause", process: "ticker", at: { millis: 27 }, forMillis: 20 }
        ])
        yield* Effect.sleep(15)
        yield* process.restart
        yield* Effect.sleep(15)
        yield* process.resume
        yield* process.pause
        yield* Effect.sleep(40)
        assert.deepStrictEqual(log, ["25"])
        yield* process.crash
        yield* Effect.sleep(200)
        assert.strictEqual(yield* process.starts, 2)
      })
    )
  )

  it.effect("that was paused and never resumed is named by the deadlock", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const process = yield* Sim.process("sleeper", Effect.sleep(10))
        yield* process.pause
        yield* process.exit
      })
      const report = yield* Sim.explore(program, { seeds: 1 })
      assert.match(report.failure!.message, /deadlock .*paused: sleeper/)
    })
  )
})

const event = (body: string): NewEvent => ({ type: "Added", version: 1, body, at: 0, tags: [] })

/** Appends `count` events one by one; after a restart it goes on behind what is stored. */
const writer = (acknowledged: Array<string>, count: number) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const claim = yield* journal.claim("a")
    const stored = yield* Stream.runCollect(journal.read("a"))
    for (let next = stored.length; next < count; next++) {
      yield* Effect.sleep(1)
      const append = {
        actor: "a",
        writer: claim.writer,
        expected: next,
        events: [event(`${next}`)]
      }
      yield* journal.append(append)
      acknowledged.push(`${next}`)
    }
  })

/** The writer under faults; in the end every event must be stored, once and in order. */
const durable = (faults: Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const acknowledged: Array<string> = []
    const journal = yield* Journal
    const process = yield* Sim.process("writer", writer(acknowledged, 8), {
      onFailure: { restartAfter: 10 }
    })
    yield* faults
    yield* process.exit
    const bodies = (yield* Stream.runCollect(journal.read("a"))).map(({ body }) => body)
    assert.deepStrictEqual(bodies, ["0", "1", "2", "3", "4", "5", "6", "7"])
    return { acknowledged, starts: yield* process.starts, at: yield* Clock.currentTimeMillis }
  }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))

describe("a journal fault", () => {
  const strikes = Effect.fnUntraced(function* (kind: FaultPlan.JournalFaultKind, nth = 3) {
    const operation = kind === "corrupt" ? "read" : "append"
    const fault = { _tag: "Journal", operation, nth, kind, millis: 50 } as const
    const run = yield* Sim.run(durable(Faults.install([fault])), {
      seed: 1,
      timerSlack: 0
    })
    if (run.exit._tag === "Failure") return assert.fail(Cause.pretty(run.exit.cause))
    return run.exit.value
  })

  it.effect("slow: answers late, and nothing else", () =>
    Effect.gen(function* () {
      const { acknowledged, at, starts } = yield* strikes("slow")
      assert.strictEqual(acknowledged.length, 8)
      assert.strictEqual(starts, 1)
      assert.strictEqual(at, 58)
    })
  )

  it.effect("refused: fails, and the event is not there", () =>
    Effect.gen(function* () {
      const { acknowledged, starts } = yield* strikes("refused")
      assert.strictEqual(starts, 2)
      assert.deepStrictEqual(acknowledged, ["0", "1", "2", "3", "4", "5", "6", "7"])
    })
  )

  it.effect("failed-after-write: fails, and the event is there", () =>
    Effect.gen(function* () {
      const { acknowledged, starts } = yield* strikes("failed-after-write")
      assert.strictEqual(starts, 2)
      assert.deepStrictEqual(acknowledged, ["0", "1", "3", "4", "5", "6", "7"])
    })
  )

  it.effect("disk-full: fails for a while", () =>
    Effect.gen(function* () {
      const { at, starts } = yield* strikes("disk-full")
      assert.isAbove(starts, 3)
      assert.isAbove(at, 50)
    })
  )

  it.effect("crash-after-write: stored and never acknowledged", () =>
    Effect.gen(function* () {
      const { acknowledged, starts } = yield* strikes("crash-after-write")
      assert.strictEqual(starts, 2)
      assert.deepStrictEqual(acknowledged, ["0", "1", "3", "4", "5", "6", "7"])
    })
  )

  it.effect("lost-at-crash: neither stored nor acknowledged", () =>
    Effect.gen(function* () {
      const { acknowledged, starts } = yield* strikes("lost-at-crash")
      assert.strictEqual(starts, 2)
      assert.deepStrictEqual(acknowledged, ["0", "1", "2", "3", "4", "5", "6", "7"])
    })
  )

  it.effect("corrupt: names the damaged record", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const journal = yield* Journal
        yield* Faults.install([
          { _tag: "Journal", operation: "read", nth: 2, kind: "corrupt", millis: 0 }
        ])
        yield* writer([], 3)
        return yield* Stream.runDrain(journal.read("a", 2)).pipe(Effect.flip)
      }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))
      const run = yield* Sim.run(program, { seed: 1 })
      const error = run.exit._tag === "Success" ? run.exit.value : undefined
      assert.instanceOf(error, CorruptRecord)
      assert.strictEqual(error.seq, 2)
    })
  )

  it.effect("slow, refused, corrupt: strike the reads of snapshots, too", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const journal = yield* Journal
        const claim = yield* journal.claim("a")
        yield* journal.append({ ...claim, expected: 0, events: [event("1")] })
        yield* journal.saveSnapshot(claim, { actor: "a", seq: 1, version: 1, body: "1", at: 0 })
        const kinds = ["slow", "refused", "corrupt"] as const
        yield* Faults.install(
          kinds.map((kind, index) => {
            return { _tag: "Journal", operation: "read", nth: index + 1, kind, millis: 50 } as const
          })
        )
        yield* journal.loadSnapshot("a")
        const at = yield* Clock.currentTimeMillis
        const refused = yield* Effect.flip(journal.loadSnapshot("a"))
        const damaged = yield* Effect.flip(journal.loadSnapshot("a"))
        return { at, errors: [refused, damaged].map(({ message }) => message) }
      }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))
      const run = yield* Sim.run(program, { seed: 1, timerSlack: 0 })
      if (run.exit._tag === "Failure") return assert.fail(Cause.pretty(run.exit.cause))
      const { at, errors } = run.exit.value
      assert.strictEqual(at, 50)
      assert.include(errors[0], "refused to read")
      assert.include(errors[1], "a bit has flipped")
    })
  )

  it.effect("each kind is drawn over a set of runs, and a correct writer stands them all", () =>
    Effect.gen(function* () {
      const kinds = new Set<string>()
      const faults = Faults.random({
        crash: "writer",
        pause: "writer",
        skew: "writer",
        journal: true
      })
      const collected = Effect.map(faults, (plan) => {
        for (const fault of plan) kinds.add(fault._tag === "Journal" ? fault.kind : fault._tag)
      })
      yield* passes(durable(collected), { seeds: 300 })
      assert.sameMembers(
        [...kinds],
        [
          "Crash",
          "Pause",
          "Skew",
          "slow",
          "refused",
          "failed-after-write",
          "disk-full",
          "crash-after-write",
          "lost-at-crash"
        ]
      )
    })
  )
})

/** Forgets to journal: a crash after the second deposit loses money. */
const forgetful = Effect.gen(function* () {
  const seen = yield* Ref.make(0)
  const process = yield* Sim.process(
    "bank",
    Effect.gen(function* () {
      for (let n = 1; n <= 5; n++) {
        yield* Effect.sleep(100)
        yield* Ref.set(seen, n)
      }
    })
  )
  yield* Faults.random({ crash: "bank", pause: "bank", skew: "bank", within: "1 second" })
  yield* process.exit
  if ((yield* process.starts) > 1) return yield* Effect.fail("money was lost")
})

describe("a fault plan", () => {
  it.effect("shrinks to the one fault that matters, and replays from JSON", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(forgetful, { seeds: 500, from: 2 })
      const failure = report.failure!
      assert.strictEqual(failure.message, "money was lost")
      assert.strictEqual(failure.plan.length, 1)
      assert.strictEqual(failure.plan[0]?._tag, "Crash")
      assert.isTrue(report.deterministic)
      const Json = Schema.fromJsonString(FaultPlan.FaultPlan)
      const json = yield* Schema.encodeEffect(Json)(failure.plan)
      const plan = yield* Schema.decodeEffect(Json)(json)
      const { schedule, seed } = failure
      const again = yield* Sim.run(forgetful, { seed, plan, schedule })
      assert.strictEqual(again.exit._tag, "Failure")
      assert.strictEqual(again.steps, failure.steps)
      const calm = yield* Sim.run(forgetful, { seed: failure.seed, plan: [] })
      assert.strictEqual(calm.exit._tag, "Success")
    })
  )

  it.effect("shrinks several faults of which two are needed to those two", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const [a, b] = [
          yield* Sim.process("a", Effect.sleep(1000)),
          yield* Sim.process("b", Effect.sleep(1000))
        ]
        yield* Faults.install(
          ["a", "b", "a", "b", "a"].flatMap((process, i) => [
            { _tag: "Crash", process, at: { millis: 100 * i }, restartAfter: 5 } as const,
            { _tag: "Pause", process, at: { step: i }, forMillis: 10 } as const
          ])
        )
        yield* a.exit
        yield* b.exit
        if ((yield* a.starts) > 1 && (yield* b.starts) > 1) return yield* Effect.fail("both")
      })
      const report = yield* Sim.explore(program, { seeds: 1 })
      assert.strictEqual(report.failure!.drawn.length, 10)
      const left = report.failure!.plan.map((fault) => "process" in fault && fault.process)
      assert.sameMembers(left, ["a", "b"])
      assert.isAtMost(report.failure!.shrinkAttempts, 200)
    })
  )

  it.effect("crashes at any step", () =>
    Effect.gen(function* () {
      const counts = new Set<number>()
      for (let step = 0; step < 40; step++) {
        const program = Effect.gen(function* () {
          const done = yield* Ref.make(0)
          const work = Effect.gen(function* () {
            for (let i = 0; i < 10; i++) {
              yield* Effect.yieldNow
              yield* Ref.set(done, i)
            }
          })
          yield* Sim.process("worker", work)
          yield* Effect.sleep(10)
          return yield* Ref.get(done)
        })
        const plan = [{ _tag: "Crash", process: "worker", at: { step } } as const]
        const run = yield* Sim.run(program, { seed: 1, plan })
        if (run.exit._tag === "Success") counts.add(run.exit.value)
      }
      assert.strictEqual(counts.size, 10)
    })
  )

  it.effect("S7: heal ends a pause, and what has not struck yet never will", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        yield* Sim.process("ticker", tick(log, 10))
        yield* Faults.install([
          { _tag: "Pause", process: "ticker", at: { millis: 15 }, forMillis: 1e6 },
          { _tag: "Crash", process: "ticker", at: { millis: 35 } }
        ])
        yield* Effect.sleep(25)
        yield* Faults.heal
        yield* Effect.sleep(28)
        assert.deepStrictEqual(log, ["10", "25", "35", "45"])
      }),
      { shrinkAttempts: 0 }
    )
  )

  it.effect("S7: heal sets clocks right: the jump and the rate", () =>
    passes(
      Effect.gen(function* () {
        const seen: Array<string> = []
        const looks = Effect.gen(function* () {
          for (;;) {
            yield* Effect.sleep(10)
            const monotonic = Number(yield* Clock.monotonicTimeNanos) / 1e6
            seen.push(`${yield* Clock.currentTimeMillis} ${monotonic}`)
          }
        })
        const process = yield* Sim.process("clock", looks)
        yield* Effect.sleep(1)
        yield* process.skew({ jump: 1000, rate: 2 })
        yield* Effect.sleep(11)
        yield* Faults.heal
        yield* Effect.sleep(15)
        assert.deepStrictEqual(seen, ["1019 19", "15 26", "25 36"])
      })
    )
  )

  it.effect("S7: heal quiets disks and chaos sites", () =>
    Effect.gen(function* () {
      const slow = { _tag: "Journal", operation: "claim", kind: "slow", millis: 50 } as const
      const full = { _tag: "Journal", operation: "append", kind: "disk-full", millis: 1e6 } as const
      const plan: FaultPlan.FaultPlan = [
        { ...slow, nth: 1 },
        { ...slow, nth: 2 },
        { ...full, nth: 1 },
        { _tag: "Site", name: "noisy" }
      ]
      const uses = Effect.gen(function* () {
        const journal = yield* Journal
        const before = yield* Clock.currentTimeMillis
        const claim = yield* journal.claim("a")
        const append = { actor: "a", writer: claim.writer, expected: 0, events: [event("x")] }
        const appended = yield* Effect.exit(journal.append(append))
        const millis = (yield* Clock.currentTimeMillis) - before
        const chaos = yield* Chaos.Chaos
        const fired = Array.from({ length: 50 }, () => chaos.fires("noisy"))
        return { millis, appended: appended._tag, fires: fired.includes(true) }
      })
      const program = Effect.gen(function* () {
        const sick = yield* uses
        yield* Faults.heal
        return [sick, yield* uses]
      }).pipe(Effect.provide(FaultyJournal.layer(Journal.layerMemory)))
      const run = yield* Sim.run(program, { seed: 1, plan, timerSlack: 0 })
      assert.deepStrictEqual(run.exit._tag === "Success" && run.exit.value, [
        { millis: 50, appended: "Failure", fires: true },
        { millis: 0, appended: "Success", fires: false }
      ])
    })
  )

  it.effect("heal ends every fault, so progress can be demanded", () =>
    Effect.gen(function* () {
      const flags = Effect.gen(function* () {
        const done = yield* Ref.make(false)
        const server = Effect.andThen(Effect.sleep(500), Ref.set(done, true))
        const process = yield* Sim.process("server", server)
        yield* process.crash
        return { done, process }
      })
      const healed = Effect.gen(function* () {
        const { done } = yield* flags
        yield* Faults.random({ crash: "server", pause: "server", skew: "server" })
        yield* Effect.sleep("1 second")
        yield* Faults.heal
        yield* Sim.eventually(Ref.get(done), "30 seconds")
      })
      yield* passes(healed, { seeds: 200 })
      const unhealed = Effect.gen(function* () {
        const { done } = yield* flags
        yield* Sim.eventually(Ref.get(done), "30 seconds", "the server's answer")
      })
      const report = yield* Sim.explore(unhealed, { seeds: 1 })
      assert.instanceOf(Cause.squash(report.failure!.cause), SimError.NotReached)
    })
  )
})

const beforeReply = Chaos.site("before-reply")

describe("chaos", () => {
  it.effect("a site disturbs in some runs only, and becomes part of the plan", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        for (let i = 0; i < 40; i++) yield* beforeReply
        return yield* Clock.currentTimeMillis
      })
      let active = 0
      for (let seed = 1; seed <= 400; seed++) {
        const run = yield* Sim.run(program, { seed })
        const delayed = run.exit._tag === "Success" && run.exit.value > 0
        const listed = run.plan.some((fault) => fault._tag === "Site")
        assert.strictEqual(delayed, listed)
        if (listed) active++
        const off = yield* Sim.run(program, { seed, plan: [] })
        assert.strictEqual(off.exit._tag === "Success" && off.exit.value, 0)
      }
      assert.isAbove(active, 60)
      assert.isBelow(active, 140)
    })
  )

  it.effect("a failing site is shrunk to, and named", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        for (const name of ["a", "b", "c"]) yield* Chaos.site(name)
        yield* Chaos.failure("disk", () => "the disk said no")
      })
      const report = yield* Sim.explore(program, { seeds: 500 })
      assert.deepStrictEqual(report.failure!.plan, [{ _tag: "Site", name: "disk" }])
      assert.strictEqual(report.failure!.message, "the disk said no")
    })
  )

  it.live("a site outside of a simulation does nothing and allocates nothing", () =>
    Effect.gen(function* () {
      const service = yield* Chaos.Chaos
      assert.strictEqual(service.pass("x"), service.pass("y"))
      assert.isFalse(service.fires("x"))
      const failing = Chaos.failure("x", () => assert.fail("made an error"))
      yield* beforeReply
      yield* failing
      // A run of half a million passes through one effect value: what is left per pass is noise.
      const pass = () => {
        let last: Effect.Effect<void> = Effect.void
        for (let i = 0; i < 500_000; i++) last = service.pass("x")
        return last
      }
      yield* pass()
      const before = process.memoryUsage().heapUsed
      yield* pass()
      assert.isBelow(process.memoryUsage().heapUsed - before, 500_000)
    })
  )

  it.effect("a mark that is never true fails the set, and is named", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        yield* Chaos.sometimes("always", true)
        const time = yield* Clock.currentTimeMillis
        yield* Chaos.sometimes("stale ack ignored", time > 0)
      })
      const report = yield* Sim.explore(program, { seeds: 20, marks: ["unreached"] })
      assert.sameMembers([...report.missed], ["stale ack ignored", "unreached"])
      assert.deepStrictEqual(report.marks["always"], { reached: 20, hits: 20 })
      assert.deepStrictEqual(report.marks["unreached"], { reached: 0, hits: 0 })
    })
  )

  it.effect("a barrier holds the next fiber at a site until it is released", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const barrier = yield* Sim.barrier("before-reply")
        const reply = Effect.andThen(
          beforeReply,
          Effect.sync(() => log.push("reply"))
        )
        yield* Effect.forkScoped(reply)
        yield* barrier.reached
        yield* Effect.sleep("1 hour")
        log.push("other")
        yield* barrier.release
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(log, ["other", "reply"])
      })
    )
  )

  it.effect("a barrier that holds a fiber lets the others pass", () =>
    passes(
      Effect.gen(function* () {
        const log: Array<string> = []
        const barrier = yield* Sim.barrier("before-reply")
        const reply = (name: string) =>
          Effect.andThen(
            beforeReply,
            Effect.sync(() => log.push(name))
          )
        yield* Effect.forkScoped(reply("held"))
        yield* barrier.reached
        yield* Effect.forkScoped(reply("other"))
        yield* Effect.sleep("1 hour")
        assert.deepStrictEqual(log, ["other"])
        yield* barrier.release
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(log, ["other", "held"])
      })
    )
  )

  it.effect("a site that is named by hand is active in each run", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        yield* Faults.install([{ _tag: "Site", name: "before-reply" }])
        for (let pass = 0; pass < 40; pass++) yield* beforeReply
      })
      for (let seed = 1; seed <= 20; seed++) {
        const { millis } = yield* Sim.run(program, { seed })
        assert.isAbove(millis, 0, `seed ${seed}`)
      }
    })
  )

  it.effect("15: a barrier and a site that no run passes are missed", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        yield* Faults.install(["before-reply", "no-such"].map((name) => ({ _tag: "Site", name })))
        const barrier = yield* Sim.barrier("before-reply")
        yield* barrier.release
        yield* Sim.barrier("nowhere")
        yield* beforeReply
        yield* beforeReply
      })
      const report = yield* Sim.explore(program, { seeds: 5 })
      assert.strictEqual(report.failure, undefined)
      assert.sameMembers([...report.missed], ["chaos at no-such", "barrier at nowhere"])
    })
  )

  it.effect("commands are drawn from a schema with the run's seed", () =>
    Effect.gen(function* () {
      const Command = Schema.Union([
        Schema.TaggedStruct("Add", { amount: Schema.Int }),
        Schema.TaggedStruct("Clear", {})
      ])
      const program = Sim.draw(Schema.Array(Command))
      const first = yield* Sim.run(program, { seed: 5 })
      const second = yield* Sim.run(program, { seed: 5 })
      assert.deepStrictEqual(second, first)
      const lists = new Set<string>()
      for (let seed = 1; seed < 50; seed++) {
        lists.add(JSON.stringify((yield* Sim.run(program, { seed })).exit))
      }
      assert.isAbove(lists.size, 30)
    })
  )
})
