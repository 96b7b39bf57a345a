/**
 * Goal: unmodified Effect Cluster runs under seeds, and what a lock that expires cannot prevent is
 * found; the simulated storage keeps locks and registrations as a database does.
 * Method: the example's program with its faults, without any, with a storage that is out of reach,
 * and with pauses that end before the lock does; the storage's answers in virtual time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as ShardId from "effect/cluster/ShardId"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { program } from "../../examples/cluster.ts"
import { type FaultPlan, Sim } from "../../src/testing/index.ts"
import * as SimCluster from "../../src/testing/SimCluster.ts"
import { it as sim } from "../../src/testing/vitest.ts"

const explore = <E>(program: Effect.Effect<void, E, Scope.Scope>, settings: Sim.Settings) =>
  Effect.runPromise(Sim.explore(program, settings))

const site = (name: string) => ({ _tag: "Site", name }) as const

const pauses = (forMillis: number): FaultPlan.FaultPlan =>
  ["runner-1", "runner-2"].map((process) => ({
    _tag: "Pause",
    process,
    at: { millis: process === "runner-1" ? 20_000 : 100_000 },
    forMillis
  }))

describe("Effect Cluster under seeds", () => {
  it("finds an entity that is alive on two runners, by one pause beyond its lock", async () => {
    const { failure } = await explore(program, { seeds: 200, shrinkAttempts: 40 })
    assert.isDefined(failure)
    assert.match(failure.message, /the report is alive on one runner/)
    assert.strictEqual(failure.plan.length, 1)
    const [fault] = failure.plan
    assert.isTrue(fault?._tag === "Pause" && fault.forMillis > 25_000, JSON.stringify(fault))
  }, 60_000)

  sim.sim("finds nothing without faults", { seeds: 30, plan: [], timeout: 60_000 }, program)

  sim.sim(
    "finds nothing when only the storage is out of reach: runners stop in time",
    { seeds: 20, plan: ["cluster request lost", "cluster answer lost"].map(site), timeout: 60_000 },
    program
  )

  it("finds nothing when pauses end before locks do, unlike longer ones", async () => {
    const within = await explore(program, { seeds: 20, plan: pauses(20_000) })
    assert.strictEqual(within.failure?.message, undefined)
    const beyond = await explore(program, { seeds: 20, plan: pauses(50_000), shrinkAttempts: 0 })
    assert.match(beyond.failure?.message ?? "", /the report is alive on one runner/)
  }, 60_000)
})

const at = (host: string) => RunnerAddress.make(host, 1)
const [one, two, three] = [at("one"), at("two"), at("three")]
const shard = ShardId.make("default", 1)

const stored = (
  test: (storage: RunnerStorage.RunnerStorage["Service"]) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function* () {
    const cluster = yield* SimCluster.make({ shardLockExpiration: "10 seconds" })
    const use = Effect.flatMap(RunnerStorage.RunnerStorage, test)
    yield* Effect.provide(use, cluster.storage)
  })

const quiet = { seeds: 20, plan: [] }

describe("the simulated storage of a cluster", () => {
  sim.sim("gives a lock to one runner, and to another one once it has expired", quiet, () =>
    stored(
      Effect.fnUntraced(function* (storage) {
        assert.deepStrictEqual(yield* storage.acquire(one, [shard]), [shard])
        yield* Effect.sleep("6 seconds")
        assert.deepStrictEqual(yield* storage.acquire(two, [shard]), [])
        assert.deepStrictEqual(yield* storage.refresh(one, [shard]), [shard])
        yield* Effect.sleep("6 seconds")
        assert.deepStrictEqual(yield* storage.acquire(two, [shard]), [])
        yield* Effect.sleep("6 seconds")
        assert.deepStrictEqual(yield* storage.acquire(two, [shard]), [shard])
        assert.deepStrictEqual(yield* storage.refresh(one, [shard]), [])
        yield* storage.release(one, shard)
        yield* storage.releaseAll(one)
        assert.deepStrictEqual(yield* storage.acquire(one, [shard]), [])
        yield* storage.release(two, shard)
        assert.deepStrictEqual(yield* storage.acquire(one, [shard]), [shard])
      })
    )
  )

  sim.sim("lists the runners that have shown themselves, and were not taken out", quiet, () =>
    stored(
      Effect.fnUntraced(function* (storage) {
        const runner = (address: RunnerAddress.RunnerAddress) =>
          Runner.make({ address, groups: ["default"], weight: 1 })
        const listed = Effect.map(storage.getRunners, (runners) =>
          runners.map(([{ address }, healthy]) => `${address.host} ${healthy}`)
        )
        const machine = yield* storage.register(runner(one), true)
        assert.notStrictEqual(yield* storage.register(runner(two), true), machine)
        yield* storage.setRunnerHealth(two, false)
        yield* storage.register(runner(three), true)
        yield* storage.unregister(three)
        assert.deepStrictEqual(yield* listed, ["one true", "two false"])
        yield* Effect.sleep("6 seconds")
        yield* storage.refresh(one, [])
        yield* Effect.sleep("6 seconds")
        assert.deepStrictEqual(yield* listed, ["one true"])
        assert.strictEqual(yield* storage.register(runner(one), true), machine)
      })
    )
  )

  it("loses requests and answers as chaos sites of the run", async () => {
    const storage = stored((storage) => Effect.asVoid(storage.acquire(one, [shard])))
    for (const name of ["cluster request lost", "cluster answer lost"]) {
      const { failure } = await explore(storage, { seeds: 50, plan: [site(name)] })
      assert.isDefined(failure)
      assert.include(Cause.pretty(failure.cause), name)
      // Only after the lock of a runner that waits for its answer has expired.
      assert.isAbove(failure.millis, 35_000)
    }
  })
})
