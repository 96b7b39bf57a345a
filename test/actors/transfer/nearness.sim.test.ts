/**
 * Goal: what a peer says of how near its cards are to a buffer chooses the card (R24); what has
 * been learned of a pair of cards comes before that, and no work waits for a card that is nearer
 * than those that work.
 * Method: engines on a simulated fabric; a peer that tells distances; every post is seen.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Memory } from "../../../src/actors/rdma/Memory.ts"
import type { Operation } from "../../../src/actors/transfer/Transfer.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, host, network, pattern, shared, timed, type Wires } from "./harness.ts"

const seeds = { seeds: 10 }
/** For what depends on which of two things is first: rails that open, a deadline, an answer. */
const exact = { seeds: 10, timerSlack: 0 }
const kilo = 1 << 10
const bytes = 64 * kilo
const hour = 3_600_000

/** A peer with the cards x, y and so on, and with memory that is so far from each of them. */
const scene = Effect.fnUntraced(function* (
  own: ReadonlyArray<string>,
  distances: Record<string, ReadonlyArray<0 | 1 | 2>>,
  wires: Partial<Wires> = {}
) {
  const fabric = yield* SimFabric.make()
  const posts = new Map<string, number>()
  const names = Object.keys(distances)
  const cards = ["x", "y", "z"].slice(0, distances[names[0]!]!.length)
  const places: Array<Memory> = []
  const net = yield* network({
    depth: 8,
    onPost: (link, { remoteHigh, remoteLow }) => {
      const address = remoteHigh * 2 ** 32 + remoteLow
      const place = places.find(({ buffers: [{ address: first } = { address: 0 }] }) => {
        return first <= address && address < first + bytes
      })
      const key = `${place!.name} ${link.local} ${link.peer}`
      posts.set(key, (posts.get(key) ?? 0) + 1)
    },
    ...wires
  })
  const settings = { sliceBytes: kilo, unreachableAfterMs: 2_000 }
  const on = (name: string, devices: ReadonlyArray<string>) =>
    host(net, name, SimVerbs.layer(fabric, { host: name, devices }), { devices, settings })
  const [a, b] = [yield* on("a", own), yield* on("b", cards)]
  for (const name of names) places.push(yield* shared(b, name, bytes))
  const { buffers, nics } = yield* b.description
  const told = buffers.map((buffer) =>
    Object.assign({}, buffer, { distances: distances[buffer.name] })
  )
  net.said.set("b", { nics, buffers: told })
  const source = yield* shared(a, "source", bytes, 1)
  /** Writes to places in turns, so many bytes at a time, and looks whether all of it came. */
  const write = Effect.fnUntraced(function* (piece: number, ...to: ReadonlyArray<string>) {
    for (const place of places) place.bytes.fill(0)
    const ops: Array<Operation> = []
    for (let offset = 0; offset < bytes; offset += piece) {
      for (const buffer of to) {
        ops.push({ op: "write", from: source.slice(offset, piece), to: { buffer, offset } })
      }
    }
    yield* a.transfer({ peer: "b", ops })
    for (const { bytes: found, name } of places) {
      if (to.includes(name)) assert.strictEqual(differsAt(pattern(bytes, 1), found), -1)
    }
  })
  /** What was posted where since the last question. */
  const posted = () => {
    const keys = [...posts.keys()].toSorted()
    posts.clear()
    return keys
  }
  const cut = (from: string, to: string) => {
    fabric.strike({ _tag: "Cut", from, to, forMillis: hour })
    fabric.strike({ _tag: "Cut", from: to, to: from, forMillis: hour })
  }
  return { a, fabric, net, write, posted, cut }
})

describe("the card of a peer", () => {
  it.sim("R24: is one that is near to the memory, not the one of the same name", seeds, () =>
    Effect.gen(function* () {
      const { net, posted, write } = yield* scene(["x"], { kept: [1, 0] })
      yield* write(bytes, "kept")
      assert.deepStrictEqual(posted(), ["kept a@x b@y"])
      assert.strictEqual(net.attempts, 1)
    })
  )

  it.sim("R24: is one of several near ones for each own card", exact, () =>
    Effect.gen(function* () {
      const { posted, write } = yield* scene(["x", "y"], { kept: [2, 0, 0] })
      yield* write(bytes, "kept")
      assert.deepStrictEqual(posted(), ["kept a@x b@z", "kept a@y b@y"])
    })
  )

  it.sim("R24: is the next one if it cannot be reached, and that is learned", seeds, () =>
    Effect.gen(function* () {
      const { cut, net, posted, write } = yield* scene(["x"], { kept: [2, 0, 1] })
      cut("a/x", "b/y")
      yield* write(bytes, "kept")
      assert.include(posted(), "kept a@x b@z")
      const { attempts } = net
      for (let turn = 0; turn < 20; turn++) {
        yield* Effect.sleep("10 seconds")
        assert.isBelow((yield* timed(write(bytes, "kept"))).millis, 50)
        assert.deepStrictEqual(posted(), ["kept a@x b@z"])
      }
      assert.strictEqual(net.attempts, attempts)
    })
  )

  it.sim("R24: is one that works, where each own card reaches only some", exact, () =>
    Effect.gen(function* () {
      const { cut, posted, write } = yield* scene(["x", "y"], { kept: [0, 1] })
      cut("a/y", "b/x")
      for (const _ of [1, 2]) {
        yield* write(bytes, "kept")
        yield* Effect.sleep("10 seconds")
      }
      posted()
      yield* write(bytes, "kept")
      assert.deepStrictEqual(posted(), ["kept a@x b@x", "kept a@y b@y"])
    })
  )

  it.sim("R24: is another one for each place, also within one transfer", exact, () =>
    Effect.gen(function* () {
      const { posted, write } = yield* scene(["x"], { left: [0, 1], right: [1, 0] })
      yield* write(2 * kilo, "left", "right")
      yield* Effect.sleep("10 millis")
      posted()
      for (let turn = 1; turn <= 4; turn++) {
        yield* write(kilo << turn, "left", "right")
        assert.deepStrictEqual(posted(), ["left a@x b@x", "right a@x b@y"])
      }
    })
  )

  it.sim("R24: is one of several near ones, and only one at a time is opened", seeds, () =>
    Effect.gen(function* () {
      const places = { left: [0, 1, 1], right: [1, 0, 0] } as const
      const { net, posted, write } = yield* scene(["x"], places)
      yield* write(bytes, "left")
      yield* write(bytes, "right")
      yield* Effect.sleep("1 second")
      posted()
      yield* write(bytes, "right")
      assert.deepStrictEqual(posted(), ["right a@x b@y"])
      assert.strictEqual(net.attempts, 2)
    })
  )

  it.sim("R24: is used at once if it is open, while a nearer one is being opened", seeds, () =>
    Effect.gen(function* () {
      const places = { left: [0, 1], right: [1, 0] } as const
      const obstacle = (_: string, peer: string) => (peer === "b@y" ? Effect.never : Effect.void)
      const { posted, write } = yield* scene(["x"], places, { obstacle })
      yield* write(bytes, "left")
      assert.isBelow((yield* timed(write(bytes, "right"))).millis, 50)
      assert.deepStrictEqual(posted(), ["left a@x b@x", "right a@x b@x"])
    })
  )

  it.sim("R24: gives way at once to one that had nothing to do, if it takes no work", exact, () =>
    Effect.gen(function* () {
      const places = { left: [0, 1], right: [1, 0] } as const
      let isBarred = false
      const obstacle = () => (isBarred ? Effect.never : Effect.void)
      const { net, posted, write } = yield* scene(["x"], places, { obstacle })
      yield* write(bytes, "left", "right")
      yield* Effect.sleep("10 millis")
      yield* write(bytes, "right")
      assert.include(posted(), "right a@x b@y")
      // It ends between the look whether it is open and the post.
      const near = [...net.links].find(({ peer }) => peer === "b@y")
      near!.post = () => "not-ready"
      isBarred = true
      assert.isBelow((yield* timed(write(bytes, "right"))).millis, 50)
      assert.deepStrictEqual(posted(), ["right a@x b@x"])
    })
  )

  it.sim("R24: gives way to the others when it is lost under work", seeds, () =>
    Effect.gen(function* () {
      const places = { left: [0, 1], right: [1, 0] } as const
      const { cut, posted, write } = yield* scene(["x"], places, { depth: 2 })
      yield* write(bytes, "left", "right")
      posted()
      const fiber = yield* Effect.forkChild(write(bytes, "left", "right"))
      yield* Effect.sleep("100 micros")
      cut("a/x", "b/y")
      yield* Fiber.join(fiber)
      assert.include(posted(), "right a@x b@x")
    })
  )

  it.sim("R24: none is spared when only far ones are left", seeds, () =>
    Effect.gen(function* () {
      const { cut, posted, write } = yield* scene(["x"], { kept: [0, 1, 2] })
      cut("a", "b/x")
      cut("a", "b/y")
      yield* write(bytes, "kept")
      assert.include(posted(), "kept a@x b@z")
    })
  )
})
