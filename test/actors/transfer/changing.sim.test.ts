/**
 * Goal: what changes between the question and the answer is noticed before anything is posted: the
 * process of the peer, its NICs and their order, and the local memory.
 * Method: two engines of the harness, whose directory and links say what the test wants.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Description } from "../../../src/actors/rdma/Directory.ts"
import { EpochSource } from "../../../src/schema/Epoch.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, pair, shared } from "./harness.ts"

const seeds = { seeds: 5 }

describe("a link that leads to another process than the description", () => {
  it.sim("T1: is retired and carries nothing, until the description is of its process", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair()
      const own = yield* shared(a, "own", 1000, 1)
      const kept = yield* shared(b, "kept", 1000)
      const write = a.write({
        peer: "b",
        from: own.slice(),
        to: { buffer: "kept" },
        within: "5 seconds"
      })
      const described = net.epochs.get("b@sim0")!
      net.epochs.set("b@sim0", new EpochSource(7))
      assert.strictEqual((yield* Effect.flip(write))._tag, "TransferFailed")
      assert.strictEqual(net.posts, 0)
      assert.isAbove(net.retired.length, 0)
      assert.deepStrictEqual([...new Set(net.retired)], ["it leads to another process"])
      assert.strictEqual(net.links.size, 0)
      net.epochs.set("b@sim0", described)
      yield* write
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("NICs of a peer", () => {
  it.sim("R24: that are gone when their link comes are not used", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ wires: { obstacle: () => Effect.never } })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(Effect.exit(write))
      yield* Effect.sleep("100 millis")
      const { buffers } = yield* b.description
      net.said.set("b", { nics: [{ path: "b@other" }], buffers })
      Object.assign(net.wires, { obstacle: () => Effect.void })
      const link = yield* net.open(net.nics.get("a@sim0")!, "b@sim0")
      net.listeners.get("a")!(link)
      yield* Effect.sleep("1 second")
      assert.isFalse(link.isOpen)
      assert.strictEqual(net.posts, 0)
      yield* Fiber.interrupt(moving)
    })
  )

  it.sim("R31: that come in another order have their keys by that order", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ devices: ["x", "y"], settings: { attempts: 1 } })
      const own = yield* shared(a, "own", 1000, 1)
      const kept = yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* a.warm("b")
      yield* write
      const { buffers, nics, ...rest } = yield* b.description
      net.said.set("b", {
        ...rest,
        nics: nics.toReversed(),
        buffers: buffers.map((buffer) =>
          Object.assign({}, buffer, { keys: buffer.keys.toReversed() })
        )
      } satisfies Description)
      for (const link of net.links) net.retire(link, "lost")
      kept.bytes.fill(0)
      yield* write
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("a peer", () => {
  it.sim("T5: that is asked for what it has is not forgotten for others", seeds, () =>
    Effect.gen(function* () {
      const hour = 3_600_000
      const settings = { peers: 1, openWithinMs: hour, unreachableAfterMs: hour }
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", 1000, 1)
      const kept = yield* shared(b, "kept", 1000)
      net.answers = Effect.sleep("1 second")
      net.isStuck = true
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(write)
      yield* Effect.sleep("100 millis")
      yield* Effect.exit(a.warm("c"))
      yield* Effect.sleep("2 seconds")
      net.isStuck = false
      const link = yield* net.open(net.nics.get("a@sim0")!, "b@sim0")
      net.listeners.get("a")!(link)
      yield* Effect.timeout(Fiber.join(moving), "10 seconds")
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("memory of this node", () => {
  it.sim("T14: that is registered again while it is copied into holds no half of it", seeds, () =>
    Effect.gen(function* () {
      const { a } = yield* pair()
      const bytes = 3 << 20
      const own = yield* shared(a, "own", bytes, 1)
      const memory = new SharedArrayBuffer(bytes)
      const access = ["local-write", "remote-write"] as const
      const register = a.register({ name: "kept", memory, access })
      const scope = yield* Scope.make()
      const kept = yield* Scope.provide(register, scope)
      const write = a.write({ peer: "a", from: own.slice(), to: { buffer: "kept" } })
      const copying = yield* Effect.forkChild(Effect.exit(write))
      const isBegun = () => kept.bytes[0] === own.bytes[0] || copying.pollUnsafe() !== undefined
      while (!isBegun()) yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      kept.bytes.fill(0)
      yield* register
      const exit = yield* Fiber.join(copying)
      assert.strictEqual(exit._tag, "Success")
      // All of it came before the release, or all of it after.
      const isBefore = kept.bytes.every((byte) => byte === 0)
      if (!isBefore) assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      yield* write
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("local memory", () => {
  it.sim("R27: that is released while the directory is asked is not posted", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair()
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(shared(a, "own", 1000, 1), scope)
      yield* shared(b, "kept", 1000)
      net.answers = Effect.sleep("1 second")
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(Effect.flip(write))
      yield* Effect.sleep("100 millis")
      yield* Scope.close(scope, Exit.void)
      const error = yield* Fiber.join(moving)
      assert.deepInclude(error, { _tag: "TransferFailed", reason: "memory-released" })
      assert.strictEqual(net.posts, 0)
    })
  )
})
