/**
 * Goal: one seed owns a run. Method: programs with known races, sleeps, hangs and leaks are run
 * under many seeds, and the same seed is run again and compared. Where a test looks at the time,
 * its timers are exact.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as WebCrypto from "effect/crypto/WebCrypto"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as Scheduler from "effect/Scheduler"
import { Sim, SimError } from "../../src/testing/index.ts"

const increment = (ref: Ref.Ref<number>) =>
  Effect.gen(function* () {
    const before = yield* Ref.get(ref)
    yield* Ref.set(ref, before + 1)
  })

const lostUpdate = Effect.gen(function* () {
  const ref = yield* Ref.make(0)
  yield* Effect.all([increment(ref), increment(ref), increment(ref)], { concurrency: "unbounded" })
  const total = yield* Ref.get(ref)
  return total === 3 ? total : yield* Effect.fail(`lost: ${total}`)
})

const pipeline = Effect.gen(function* () {
  const seen: Array<string> = []
  const queue = yield* Queue.bounded<string>(2)
  const producer = Effect.fnUntraced(function* (name: string) {
    for (let i = 0; i < 3; i++) {
      const pause = yield* Random.nextIntBetween(1, 50)
      yield* Effect.sleep(pause)
      yield* Queue.offer(queue, `${name}${i}@${pause}`)
    }
  })
  const consumer = yield* Effect.gen(function* () {
    seen.push(yield* Queue.take(queue))
    yield* Effect.sleep(5)
  }).pipe(Effect.forever, Effect.forkChild)
  yield* Effect.all([producer("a"), producer("b")], { concurrency: "unbounded" })
  yield* Effect.sleep("1 hour")
  yield* Fiber.interrupt(consumer)
  return seen.join(" ")
})

describe("a seed", () => {
  it.effect("repeats 1000 of 1000 runs exactly, and different seeds differ", () =>
    Effect.gen(function* () {
      const traces = new Set<string>()
      for (let seed = 1; seed <= 1000; seed++) {
        const first = yield* Sim.run(pipeline, { seed })
        const second = yield* Sim.run(pipeline, { seed })
        assert.deepStrictEqual(second, first)
        traces.add(`${first.fingerprint} ${JSON.stringify(first.exit)}`)
      }
      assert.isAbove(traces.size, 990)
    })
  )

  it.effect("finds the lost update that the default scheduler never shows", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 1000; i++) assert.strictEqual(yield* lostUpdate, 3)
      const report = yield* Sim.explore(lostUpdate, { seeds: 1000, stopAfter: Infinity })
      assert.isAbove(report.failures, 100)
      assert.isBelow(report.failures, 900)
      assert.isTrue(report.deterministic)
      const seed = report.firstFailingSeed!
      const repeated = yield* Sim.run(lostUpdate, { seed })
      assert.strictEqual(repeated.exit._tag, "Failure")
    })
  )

  it.effect("owns the random numbers, the random bytes and the metrics", () =>
    Effect.gen(function* () {
      const draws = Effect.gen(function* () {
        const crypto = yield* WebCrypto.WebCrypto
        const counter = Metric.counter("draws")
        yield* Metric.update(counter, 1)
        const { count } = yield* Metric.value(counter)
        const bytes = crypto.getRandomValues(new Uint16Array(4))
        return [yield* Random.next, yield* Random.nextInt, crypto.randomUUID(), [...bytes], count]
      })
      const first = yield* Sim.run(draws, { seed: 7 })
      const second = yield* Sim.run(draws, { seed: 7 })
      const other = yield* Sim.run(draws, { seed: 8 })
      assert.deepStrictEqual(second.exit, first.exit)
      assert.notDeepEqual(other.exit, first.exit)
    })
  )

  it.effect("orders the tasks of a scheduler's own dispatcher too", () =>
    Effect.gen(function* () {
      const orders = new Set<string>()
      const program = Effect.gen(function* () {
        const scheduler = yield* Scheduler.Scheduler
        const order: Array<number> = []
        const dispatcher = scheduler.makeDispatcher()
        for (let i = 0; i < 4; i++) dispatcher.scheduleTask(() => order.push(i), 0)
        yield* Effect.sleep(1)
        assert.sameMembers(order, [0, 1, 2, 3])
        orders.add(order.join(""))
      })
      const report = yield* Sim.explore(program, { seeds: 400 })
      assert.isUndefined(report.failure)
      assert.strictEqual(orders.size, 24)
    })
  )

  it.effect("loses no interrupt of a fiber that has not begun", () =>
    Effect.gen(function* () {
      const waiting = Effect.gen(function* () {
        yield* Effect.acquireRelease(Effect.void, () => Effect.void)
        yield* Effect.forkScoped(Effect.delay(Effect.void, "1 day"))
      })
      const program = Effect.andThen(Effect.scoped(waiting), Clock.currentTimeMillis)
      for (let seed = 0; seed < 300; seed++) {
        const { exit } = yield* Sim.run(program, { seed, timerSlack: 0 })
        assert.deepStrictEqual(exit, Exit.succeed(0), `seed ${seed}`)
      }
    })
  )

  it.effect("flushing a dispatcher runs all its tasks and no others", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const scheduler = yield* Scheduler.Scheduler
        const ran: Array<string> = []
        const mine = scheduler.makeDispatcher()
        const other = scheduler.makeDispatcher()
        yield* Effect.sync(() => {
          other.scheduleTask(() => ran.push("other"), 0)
          mine.scheduleTask(() => {
            ran.push("mine")
            mine.scheduleTask(() => ran.push("mine"), 0)
          }, 0)
          mine.flush()
          assert.deepStrictEqual(ran, ["mine", "mine"])
        })
        yield* Effect.sleep(1)
        assert.deepStrictEqual(ran, ["mine", "mine", "other"])
      })
      const report = yield* Sim.explore(program, { seeds: 50 })
      assert.isUndefined(report.failure)
    })
  )
})

describe("virtual time", () => {
  it.live("passes a year in an instant, and clocks agree with sleeps", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        for (let day = 0; day < 365; day++) yield* Effect.sleep("24 hours")
        return [yield* Clock.currentTimeMillis, yield* Clock.monotonicTimeNanos]
      })
      const started = performance.now()
      const run = yield* Sim.run(program, { seed: 1, maxTime: "366 days", timerSlack: 0 })
      const year = 365 * 24 * 3600 * 1000
      assert.deepStrictEqual(run.exit._tag === "Success" && run.exit.value, [
        year,
        BigInt(year) * 1_000_000n
      ])
      assert.isAbove(year / (performance.now() - started), 1e6)
    })
  )

  it.effect("wakes sleepers in the order of their deadlines, and not before", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const woken: Array<number> = []
        yield* Effect.forEach(
          [50, 10, 40, 20, 30, 11],
          (ms) =>
            Effect.gen(function* () {
              yield* Effect.sleep(ms)
              assert.strictEqual(yield* Clock.currentTimeMillis, ms)
              woken.push(ms)
            }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(woken, [10, 11, 20, 30, 40, 50])
      })
      const report = yield* Sim.explore(program, { seeds: 100, timerSlack: 0 })
      assert.isUndefined(report.failure)
    })
  )

  it.effect("a timeout interrupts, and a cancelled timer does not hold time up", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const slow = yield* Effect.sleep("1 hour").pipe(Effect.timeoutOption("1 second"))
        assert.strictEqual(slow._tag, "None")
        const quick = yield* Effect.sleep("1 second").pipe(Effect.timeoutOption("1 hour"))
        assert.strictEqual(quick._tag, "Some")
        return yield* Clock.currentTimeMillis
      })
      const run = yield* Sim.run(program, { seed: 3, timerSlack: 0 })
      assert.deepStrictEqual(run.exit._tag === "Success" && run.exit.value, 2000)
      assert.strictEqual(run.millis, 2000)
    })
  )

  it.effect("a promise that is on its way takes no virtual time", () =>
    Effect.gen(function* () {
      const answer = async () => {
        await Promise.resolve()
        await Promise.resolve()
        return "answer"
      }
      const program = Effect.gen(function* () {
        const first = yield* Effect.promise(answer).pipe(Effect.timeout("1 second"))
        const both = yield* Effect.all([Effect.promise(answer), Effect.sleep(5)], {
          concurrency: "unbounded"
        })
        return [first, both[0], yield* Clock.currentTimeMillis]
      })
      const report = yield* Sim.explore(program, { seeds: 50, checkShare: 1 })
      assert.isUndefined(report.failure)
      const run = yield* Sim.run(program, { seed: 1, timerSlack: 0 })
      const value = run.exit._tag === "Success" && run.exit.value
      assert.deepStrictEqual(value, ["answer", "answer", 5])
    })
  )
})

const errorOf = (report: Sim.Report): unknown => {
  const reason = report.failure?.cause.reasons[0]
  return reason?._tag === "Fail" ? reason.error : reason?._tag === "Die" ? reason.defect : undefined
}

describe("a run that does not end", () => {
  it.effect("is a deadlock that names the waiting fibers", () =>
    Effect.gen(function* () {
      const waiter = Effect.fn("waiter")(function* (gate: Deferred.Deferred<void>) {
        yield* Deferred.await(gate)
      })
      const program = Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        yield* Effect.forkChild(waiter(gate))
        yield* Effect.sleep(10)
        yield* Deferred.await(gate)
      })
      const report = yield* Sim.explore(program, { seeds: 10, timerSlack: 0 })
      const error = errorOf(report)
      assert.instanceOf(error, SimError.Deadlock)
      assert.strictEqual(error.millis, 10)
      assert.match(error.message, /#2 waiter in main/)
      assert.match(error.message, /simulation\.test\.ts/)
      assert.isTrue(report.deterministic)
    })
  )

  it.effect("is a deadlock at once if all timers are those of a killed process", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const sleeper = yield* Sim.process("sleeper", Effect.sleep("1 hour"))
        yield* Effect.sleep(10)
        yield* sleeper.crash
        yield* sleeper.exit
      })
      const error = errorOf(yield* Sim.explore(program, { seeds: 1, timerSlack: 0 }))
      assert.instanceOf(error, SimError.Deadlock)
      assert.strictEqual(error.millis, 10)
    })
  )

  it.effect("D35: is bounded where it demands progress of what never answers", () =>
    Effect.gen(function* () {
      const report = yield* Sim.explore(Sim.eventually(Effect.never, "1 second"), { seeds: 5 })
      assert.instanceOf(errorOf(report), SimError.NotReached)
    })
  )

  it.effect("C22: is found although it spins without a pause", () =>
    Effect.gen(function* () {
      const spin = Effect.gen(function* () {
        for (;;) yield* Effect.sync(() => undefined)
      })
      const steps: Array<number> = []
      for (let seed = 1; seed <= 10; seed++) {
        const run = yield* Sim.run(spin, { seed, maxSteps: 1_000 })
        assert.strictEqual(run.exit._tag, "Failure")
        steps.push(run.steps)
      }
      // Some seeds never preempt a fiber: it does 2,048 operations in a step.
      assert.isBelow(Math.min(...steps), 20)
    })
  )

  it.live("C22: is ended by real time, the last resort", () =>
    Effect.gen(function* () {
      const never = Effect.forever(Effect.yieldNow)
      const settings = { seeds: 1, maxRealTime: 100, maxSteps: Infinity }
      const report = yield* Sim.explore(never, settings)
      assert.propertyVal(errorOf(report), "limit", "maxRealTime")
    })
  )

  it.live("C23: can be interrupted from outside: promises, forks and pauses alike", () =>
    Effect.gen(function* () {
      const forks: Effect.Effect<void> = Effect.suspend(() => Effect.forkDetach(forks))
      const bodies = [
        Effect.promise(() => Promise.resolve()),
        Effect.yieldNow,
        Effect.sleep(1),
        Effect.forkChild(Effect.void)
      ]
      for (const body of [
        ...bodies.map((body) => Effect.forever(body)),
        Effect.andThen(forks, Effect.never)
      ]) {
        const limits = { maxSteps: Infinity, maxTime: Infinity, maxRealTime: Infinity }
        const explored = Sim.explore(body, { seeds: 1, ...limits })
        const ended = yield* Effect.timeoutOption(explored, "50 millis")
        assert.strictEqual(ended._tag, "None")
      }
    })
  )

  it.effect("stops at maxSteps and at maxTime", () =>
    Effect.gen(function* () {
      const spin = Effect.forever(Effect.yieldNow)
      const steps = yield* Sim.explore(spin, { seeds: 1, maxSteps: 500 })
      assert.propertyVal(errorOf(steps), "limit", "maxSteps")
      const beat = Effect.forever(Effect.sleep("1 second"))
      const time = yield* Sim.explore(beat, { seeds: 1, maxTime: "1 minute" })
      assert.propertyVal(errorOf(time), "limit", "maxTime")
    })
  )

  it.effect("a loop that never yields by itself passes through all the same", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const ref = yield* Ref.make(0)
        for (let i = 0; i < 100_000; i++) yield* Ref.set(ref, i)
      })
      const report = yield* Sim.explore(program, { seeds: 20 })
      assert.isUndefined(report.failure)
    })
  )
})

describe("the self-check", () => {
  const leak = (leaks: Effect.Effect<number>) =>
    Effect.gen(function* () {
      yield* Effect.sleep(1)
      yield* Effect.sleep(1)
      const times = yield* leaks
      for (let i = 0; i < times; i++) yield* Effect.yieldNow
      yield* Effect.sleep(1)
    })

  it.effect("names the first differing step of a program that uses Math.random", () =>
    Effect.gen(function* () {
      const program = leak(Effect.sync(() => Math.floor(Math.random() * 1000)))
      const report = yield* Sim.explore(program, { seeds: 5, checkShare: 1, ambient: "allow" })
      assert.isFalse(report.deterministic)
      const error = errorOf(report)
      assert.instanceOf(error, SimError.NotDeterministic)
      assert.isAtLeast(error.step, 3)
      assert.isAtMost(error.step, 1010)
      assert.strictEqual(report.failure!.trace.at(-1)?.step, error.step)
    })
  )

  it.effect("notices real time, and a result that differs", () =>
    Effect.gen(function* () {
      const nanos = Effect.sync(() => Number(process.hrtime.bigint() % 1000n))
      const clock = yield* Sim.explore(leak(nanos), {
        seeds: 5,
        checkShare: 1,
        ambient: "allow"
      })
      assert.isFalse(clock.deterministic)
      const result = yield* Sim.explore(
        Effect.sync(() => Math.random()),
        { seeds: 1, ambient: "allow" }
      )
      assert.isFalse(result.deterministic)
    })
  )

  it.effect("notices state that outlives a run, in a failing run", () =>
    Effect.gen(function* () {
      let runs = 0
      const program = Effect.suspend(() => (++runs === 3 ? Effect.fail("third") : Effect.void))
      const report = yield* Sim.explore(program, { seeds: 10, checkShare: 0 })
      assert.strictEqual(report.firstFailingSeed, 3)
      assert.isFalse(report.deterministic)
    })
  )

  it.effect("is not misled by fiber numbers, which never repeat", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(Effect.never)
        yield* Effect.sleep(1)
        yield* Fiber.interrupt(fiber)
        return yield* Fiber.await(fiber)
      })
      const report = yield* Sim.explore(program, { seeds: 20, checkShare: 1 })
      assert.strictEqual(report.failure?.message, undefined)
      const interrupted = yield* Sim.explore(Effect.interrupt, { seeds: 2 })
      assert.isTrue(interrupted.deterministic)
      assert.strictEqual(interrupted.failures, 1)
    })
  )

  it.effect("lets a clean program pass, and can be switched off", () =>
    Effect.gen(function* () {
      const clean = yield* Sim.explore(pipeline, { seeds: 100, checkShare: 0.5 })
      assert.isUndefined(clean.failure)
      assert.strictEqual(clean.checked, 50)
      const off = yield* Sim.explore(pipeline, { seeds: 100, checkShare: 0 })
      assert.strictEqual(off.checked, 0)
    })
  )
})

describe("checks from inside", () => {
  it.effect("an invariant is checked after each step", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const [left, right] = [yield* Ref.make(10), yield* Ref.make(0)]
        const total = () => Ref.getUnsafe(left) + Ref.getUnsafe(right)
        yield* Sim.invariant("money is kept", () => total() === 10)
        yield* Ref.update(left, (n) => n - 1)
        yield* Ref.update(right, (n) => n + 1)
        yield* Effect.sleep(1)
      })
      const report = yield* Sim.explore(program, { seeds: 200 })
      const error = errorOf(report)
      assert.instanceOf(error, SimError.InvariantBroken)
      assert.strictEqual(error.name, "money is kept")
    })
  )

  it.effect("an invariant that throws tells why, and one that holds is silent", () =>
    Effect.gen(function* () {
      const broken = yield* Sim.explore(
        Sim.invariant("one is two", () => {
          assert.strictEqual(1, 2 as number)
          return true
        }).pipe(Effect.andThen(Effect.sleep(1))),
        { seeds: 1 }
      )
      assert.match(broken.failure!.message, /expected 1 to equal 2/)
      const fine = yield* Sim.explore(
        Sim.invariant("true", () => true),
        { seeds: 20 }
      )
      assert.isUndefined(fine.failure)
    })
  )

  it.effect("eventually demands progress within virtual time", () =>
    Effect.gen(function* () {
      const within = (delay: number) =>
        Effect.gen(function* () {
          const done = yield* Ref.make(false)
          yield* Ref.set(done, true).pipe(Effect.delay(delay), Effect.forkScoped)
          yield* Sim.eventually(Ref.get(done), "30 seconds", "the flag")
        })
      assert.isUndefined((yield* Sim.explore(within(29_000), { seeds: 5 })).failure)
      const late = yield* Sim.explore(within(31_000), { seeds: 5 })
      assert.instanceOf(errorOf(late), SimError.NotReached)
      assert.match(late.failure!.message, /the flag: not reached within 30000 ms/)
    })
  )

  it.live("is a defect outside of a simulation", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Sim.note("x"))
      assert.strictEqual(exit._tag, "Failure")
    })
  )
})

describe("scopes and services", () => {
  it.effect("finalizers run inside the simulation, on virtual time", () =>
    Effect.gen(function* () {
      const log: Array<number> = []
      class Name extends Context.Service<Name, string>()("test/Name") {}
      const program = Effect.gen(function* () {
        const clock = yield* Clock.Clock
        yield* Effect.addFinalizer(() =>
          Effect.sleep(5).pipe(
            Effect.andThen(Effect.sync(() => log.push(clock.currentTimeMillisUnsafe())))
          )
        )
        return yield* Name
      }).pipe(Effect.provideService(Name, "n"))
      const run = yield* Sim.run(program, { seed: 1, timerSlack: 0 })
      assert.deepStrictEqual(log, [5])
      assert.strictEqual(run.exit._tag, "Success")
    })
  )
})
