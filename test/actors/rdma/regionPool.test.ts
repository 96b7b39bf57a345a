/**
 * Goal: memory that goes from one peer to another carries nothing and opens nothing to the wrong
 * one, and borrowers who wait are served in order, within their shares, without leaks.
 * Method: a pool over a simulated device, whose keys and rights are looked at directly.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import {
  type Loan,
  type PoolShare,
  RegionPool,
  type Settings
} from "../../../src/actors/rdma/RegionPool.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { Sim } from "../../../src/testing/index.ts"
import { it as sim } from "../../../src/testing/vitest.ts"

const KiB = 1_024

const makePool = Effect.fnUntraced(function* (settings: Settings) {
  const fabric = yield* SimFabric.make()
  const device = yield* Effect.provide(
    Effect.flatMap(Verbs, (verbs) => verbs.open()),
    SimVerbs.layer(fabric)
  )
  return { fabric, pool: yield* RegionPool.make(yield* device.protectionDomain, settings) }
})

const small = { maxBytes: 16 * KiB, minRegionBytes: 4 * KiB }

describe("memory of a pool", () => {
  it.effect("G5: has only the rights of its use", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const share = pool.share()
      const accessOf = (loan: Loan) => loan.region.access
      assert.deepStrictEqual(accessOf(yield* share.lend("peer-reads", 1)), ["remote-read"])
      const written = yield* share.lend("peer-writes", 1)
      assert.deepStrictEqual(accessOf(written), ["local-write", "remote-write"])
      assert.deepStrictEqual(accessOf(yield* share.lend("local", 1)), ["local-write"])
    })
  )

  it.effect("G5: is cleared of what a peer wrote behind the bytes that were borrowed for it", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const first = yield* pool.share().lend("peer-writes", 100)
      // The key opens the whole region.
      first.region.bytes.fill(7)
      yield* first.end
      const second = yield* pool.share().lend("peer-writes", 4 * KiB)
      assert.strictEqual(second.region, first.region)
      assert.isTrue(second.bytes.every((byte) => byte === 0))
    })
  )

  it.effect("G5: is cleared as a whole before another peer gets it", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      for (const use of ["peer-reads", "peer-writes"] as const) {
        const first = yield* pool.share().lend(use, 4 * KiB)
        first.region.bytes.fill(7)
        yield* first.end
        const second = yield* pool.share().lend(use, 100)
        assert.strictEqual(second.region, first.region)
        assert.isTrue(second.region.bytes.every((byte) => byte === 0))
        assert.lengthOf(second.bytes, 100)
        yield* second.end
      }
    })
  )

  it.effect("C3: is refused when the pool is over, also to those that wait for it", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { pool } = yield* Scope.provide(makePool(small), scope)
      const share = pool.share()
      const held = yield* share.lend("peer-writes", 16 * KiB)
      const waiting = yield* Effect.forkChild(Effect.flip(share.lend("peer-writes", 16 * KiB)), {
        startImmediately: true
      })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "Released")
      yield* held.end
      assert.strictEqual((yield* Effect.flip(share.lend("peer-writes", 1)))._tag, "Released")
      assert.deepStrictEqual([pool.withdrawn, share.lentBytes], [0, 0])
    })
  )

  it.effect("G22: draws a new key for each loan, and voids it at the end", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const share = pool.share()
      const keys = new Set<number>()
      for (let round = 0; round < 20; round++) {
        const loan = yield* share.lend("peer-writes", 1)
        assert.strictEqual(loan.region.remoteKey, loan.key)
        keys.add(loan.key)
        yield* loan.end
        yield* loan.end
        assert.strictEqual(loan.region.remoteKey, 0)
      }
      assert.strictEqual(keys.size, 20)
      assert.strictEqual(share.lentBytes, 0)
      assert.deepStrictEqual(pool.usage, { registeredBytes: 4 * KiB, idleBytes: 4 * KiB })
    })
  )

  it.effect("G22: is withdrawn if its old key cannot be made void", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const share = pool.share()
      const first = yield* share.lend("peer-writes", 1)
      yield* first.end
      first.region.renewKey = () => 0
      const second = yield* share.lend("peer-writes", 1)
      assert.notStrictEqual(second.region, first.region)
      assert.strictEqual(pool.withdrawn, 1)
      assert.strictEqual(share.lentBytes, 4 * KiB)
      const error = yield* Effect.flip(share.lend("peer-writes", 16 * KiB))
      assert.deepInclude(error, { _tag: "LoanTooLarge", limit: 12 * KiB })
    })
  )

  it.effect("G22: that is withdrawn is refused to those that wait for all of it", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const share = pool.share()
      const first = yield* share.lend("peer-writes", 4 * KiB)
      yield* share.lend("local", 8 * KiB)
      const wait = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.forkChild(effect, { startImmediately: true })
      const both = { use: "peer-writes", bytes: 4 * KiB } as const
      yield* wait(share.lendAll([both, both]))
      const all = yield* wait(Effect.flip(share.lend("local", 16 * KiB)))
      first.region.renewKey = () => 0
      yield* first.end
      assert.deepInclude(yield* Fiber.join(all), { _tag: "LoanTooLarge", limit: 12 * KiB })
    })
  )
})

describe("borrowers", () => {
  it.effect("G19: hear at once that a request can never be fulfilled", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const error = yield* Effect.flip(pool.share(8 * KiB).lend("local", 8 * KiB + 1))
      assert.deepInclude(error, { _tag: "LoanTooLarge", bytes: 16 * KiB, limit: 8 * KiB })
    })
  )

  for (const shares of ["one share", "two shares"]) {
    it.effect(`G19: wait in order, so small requests do not starve a large one: ${shares}`, () =>
      Effect.gen(function* () {
        const { pool } = yield* makePool(small)
        const holder = pool.share()
        const share = shares === "one share" ? holder : pool.share()
        const other = shares === "one share" ? share : pool.share()
        const order: Array<string> = []
        const borrow = (name: string, from: PoolShare, bytes: number) =>
          Effect.forkChild(
            Effect.tap(from.lend("local", bytes), () => Effect.sync(() => order.push(name))),
            { startImmediately: true }
          )
        const held = yield* Effect.forEach([1, 2, 3, 4], () => holder.lend("local", 4 * KiB))
        const large = yield* borrow("large", share, 16 * KiB)
        const little = yield* borrow("little", other, 4 * KiB)
        for (const loan of held) yield* loan.end
        yield* (yield* Fiber.join(large)).end
        yield* Fiber.join(little)
        assert.deepStrictEqual(order, ["large", "little"])
        assert.isAtMost(pool.usage.registeredBytes, 16 * KiB)
      })
    )
  }

  it.effect("G19: that need two pieces get both at once, so none waits for the other's", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool({ maxBytes: 8 * KiB })
      const share = pool.share()
      const pair = [
        { use: "peer-reads", bytes: 1 },
        { use: "peer-writes", bytes: 1 }
      ] as const
      const call = Effect.acquireUseRelease(
        share.lendAll(pair),
        () => Effect.yieldNow,
        (loans) => Effect.forEach(loans, ({ end }) => end)
      )
      yield* Effect.all(
        Array.from({ length: 20 }, () => call),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(pool.usage, { registeredBytes: 8 * KiB, idleBytes: 8 * KiB })
      const error = yield* Effect.flip(share.lendAll([...pair, { use: "local", bytes: 1 }]))
      assert.deepInclude(error, { _tag: "LoanTooLarge", bytes: 12 * KiB })
    })
  )

  it.effect("G14: that have used up their share let others pass", () =>
    Effect.gen(function* () {
      const { pool } = yield* makePool(small)
      const greedy = pool.share(4 * KiB)
      const held = yield* greedy.lend("local", 4 * KiB)
      const waiting = yield* Effect.forkChild(greedy.lend("local", 4 * KiB), {
        startImmediately: true
      })
      yield* pool.share().lend("local", 4 * KiB)
      assert.isUndefined(waiting.pollUnsafe())
      yield* held.end
      yield* Fiber.join(waiting)
    })
  )

  sim.sim("G19: lose no memory, whenever they are interrupted", { seeds: 100 }, () =>
    Effect.gen(function* () {
      const { fabric, pool } = yield* makePool(small)
      const shares = [pool.share(8 * KiB), pool.share()]
      const borrow = Effect.gen(function* () {
        const share = shares[(yield* Random.nextInt) & 1]!
        const bytes = (4 * KiB) << ((yield* Random.nextInt) & 1)
        const use = ((yield* Random.nextInt) & 1) === 0 ? "peer-reads" : "local"
        const borrowed = Effect.acquireUseRelease(
          share.lend(use, bytes),
          () => Effect.sleep("1 millis"),
          ({ end }) => end
        )
        const millis = (yield* Random.nextIntBetween(0, 8)) / 2
        yield* Effect.timeoutOption(borrowed, millis)
      })
      yield* Effect.forEach(Array.from({ length: 40 }), () => borrow, { concurrency: 12 })
      const { idleBytes, registeredBytes } = pool.usage
      assert.strictEqual(idleBytes, registeredBytes)
      assert.isAtMost(registeredBytes, 16 * KiB)
      assert.deepStrictEqual(
        shares.map(({ lentBytes }) => lentBytes),
        [0, 0]
      )
      yield* Sim.note(`${fabric.resources().regions} regions`)
    })
  )
})
