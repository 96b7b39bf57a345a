/**
 * Goal: a transfer moves all of it, in both directions, over whatever ways there are; or it says
 * what has not moved, and then nothing of it is under way any more.
 * Method: engines on a simulated fabric, with real queue pairs and the fabric's own faults.
 */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { TransferFailed } from "../../../src/actors/transfer/TransferError.ts"
import * as Segment from "../../../src/actors/rdma/Segment.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import type { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { NoDescription } from "../../../src/actors/rdma/Directory.ts"
import { it } from "../../../src/testing/vitest.ts"
import { differsAt, host, pair, pattern, shared, timed, withoutRights } from "./harness.ts"

const kilo = 1 << 10
const mega = 1 << 20
const seeds = { seeds: 10 }
/** For what depends on which of two things is first: rails that open, a deadline, an answer. */
const exact = { seeds: 10, timerSlack: 0 }
const hour = 3_600_000
/** As many slices as with real sizes, of fewer bytes to look at. */
const settings = { sliceBytes: 4 * kilo }

const failed = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const error = yield* Effect.flip(effect)
  assert.instanceOf(error, TransferFailed)
  return error as unknown as TransferFailed
})

describe("a transfer", () => {
  it.sim("moves memory to a peer and from it", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair()
      const own = yield* shared(a, "own", mega, 1)
      const kept = yield* shared(b, "kept", 2 * mega, 2)
      const moved = yield* a.transfer({
        peer: "b",
        ops: [
          { op: "write", from: own.slice(0, mega / 2), to: { buffer: "kept", offset: 4096 } },
          { op: "read", from: { buffer: "kept", offset: mega }, to: own.slice(mega / 2) }
        ]
      })
      assert.deepStrictEqual(moved, { moved: mega, bytes: mega })
      const source = pattern(mega, 1).subarray(0, mega / 2)
      assert.strictEqual(differsAt(source, kept.bytes.subarray(4096)), -1)
      const read = pattern(2 * mega, 2).subarray(mega, mega + mega / 2)
      assert.strictEqual(differsAt(read, own.bytes.subarray(mega / 2)), -1)
      assert.strictEqual(net.posts, 16)
      assert.strictEqual(net.lookups, 1)
      assert.strictEqual(fabric.counters.earlyPosts, 0)
    })
  )

  it.sim("asks behind the writes of each turn, while others are on their way", seeds, () =>
    Effect.gen(function* () {
      const posts: Array<string> = []
      const onPost = (_: ReadyLink, { opcode }: SendRequest) => void posts.push(opcode)
      const wires = { queuePairs: 1, depth: 64, onPost }
      const { a, b } = yield* pair({ acknowledges: false, settings, wires })
      const own = yield* shared(a, "own", mega / 2, 1)
      const kept = yield* shared(b, "kept", mega / 2)
      yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      // More than these are not posted before something ends.
      const first = posts.slice(0, 64)
      assert.deepStrictEqual(
        first.flatMap((opcode, index) => (opcode === "read" ? [index] : [])),
        [16, 33, 50]
      )
      assert.strictEqual(posts.filter((opcode) => opcode === "write").length, 128)
      assert.strictEqual(posts.at(-1), "read")
    })
  )

  it.sim("finds room for its questions in the smallest queues", seeds, () =>
    Effect.gen(function* () {
      for (const depth of [1, 2, 16, 17]) {
        for (const completions of [1, 2, 3, 17, 256]) {
          const wires = { queuePairs: 2, depth }
          const { a, b } = yield* pair({ acknowledges: false, settings, wires, completions })
          const own = yield* shared(a, "own", 40 * settings.sliceBytes, 1)
          const kept = yield* shared(b, "kept", 40 * settings.sliceBytes)
          const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
          yield* Effect.timeout(write, "10 seconds")
          assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
        }
      }
    })
  )

  it.sim("moves writes again about which it cannot ask any more", seeds, () =>
    Effect.gen(function* () {
      const wires = { queuePairs: 1, depth: 2 }
      const { a, b, net } = yield* pair({ acknowledges: false, settings, wires })
      const own = yield* shared(a, "own", 40 * settings.sliceBytes, 1)
      const kept = yield* shared(b, "kept", 40 * settings.sliceBytes)
      yield* a.warm("b")
      const [link] = net.links
      const post = link!.post.bind(link)
      // Two writes fill the queue; by the time that they have ended nothing can be asked.
      link!.post = (request, number) =>
        request.opcode === "read" ? "not-ready" : post(request, number)
      const moved = yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.strictEqual(moved.moved, moved.bytes)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      yield* Effect.sleep("1 second")
      for (const { completions } of net.nics.values()) assert.strictEqual(completions.reserved, 0)
    })
  )

  it.sim("needs one way there and back to know that a write arrived", seeds, () =>
    Effect.gen(function* () {
      const trip = Effect.fnUntraced(function* (acknowledges: boolean) {
        const { a, b, fabric } = yield* pair({ acknowledges, settings })
        const own = yield* shared(a, "own", kilo, 1)
        yield* shared(b, "kept", kilo)
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        yield* write
        fabric.strike({ _tag: "Delay", from: "b", to: "a", millis: 50, forMillis: 5_000 })
        return (yield* timed(write)).millis
      })
      const [told, asked] = [yield* trip(true), yield* trip(false)]
      assert.isAtMost(asked, told + 1)
    })
  )

  it.sim("finds memory by its address, also over a border of two buffers", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair()
      const own = yield* shared(a, "own", 4096, 1)
      const kept = yield* shared(b, "kept", 2000)
      const { buffers, nics } = yield* b.description
      const [whole] = buffers
      const { address } = whole!
      const halves = [
        { ...whole, length: 1000 },
        { ...whole, address: address + 1000, length: 1000 }
      ]
      net.said.set("b", { nics, buffers: halves })
      yield* a.write({ peer: "b", from: own.slice(0, 500), to: { address: address + 750 } })
      assert.strictEqual(differsAt(pattern(500), kept.bytes.subarray(750)), -1)
      assert.strictEqual(net.posts, 2)
    })
  )

  it.sim("shares its slices among all cards of both sides", exact, () =>
    Effect.gen(function* () {
      const used = new Set<string>()
      const wires = {
        depth: 4,
        onPost: ({ local, peer }: { local: string; peer: string }) => {
          used.add(`${local} ${peer}`)
        }
      }
      const { a, b } = yield* pair({ devices: ["x", "y"], wires })
      const own = yield* shared(a, "own", 4 * mega, 1)
      const kept = yield* shared(b, "kept", 4 * mega)
      yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      assert.deepStrictEqual([...used].toSorted(), ["a@x b@x", "a@y b@y"])
    })
  )

  it.sim("R31: is told of memory as Mooncake tells it, and uses it by every card", exact, () =>
    Effect.gen(function* () {
      const used = new Set<string>()
      const wires = {
        depth: 4,
        onPost: ({ local, peer }: { local: string; peer: string }) => {
          used.add(`${local} ${peer}`)
        }
      }
      const { a, b, net } = yield* pair({ devices: ["x", "y"], wires })
      const own = yield* shared(a, "own", 4 * mega, 1)
      const kept = yield* shared(b, "kept", 4 * mega)
      const text = SegmentDescriptor.encode(Segment.fromDescription("b", yield* b.description))
      assert.deepStrictEqual(Object.keys(JSON.parse(text).buffers[0]).toSorted(), [
        "addr",
        "length",
        "lkey",
        "name",
        "rkey"
      ])
      const told = Segment.toDescription(Result.getOrThrow(SegmentDescriptor.decode(text)))
      net.said.set("b", told)
      const { address } = told.buffers[0]!
      yield* a.write({ peer: "b", from: own.slice(), to: { address } })
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      assert.strictEqual(used.size, 2)
    })
  )

  it.sim("tells its progress, and ends with the whole", seeds, () =>
    Effect.gen(function* () {
      const { a, b } = yield* pair({ wires: { depth: 2 } })
      const own = yield* shared(a, "own", 4 * mega, 1)
      yield* shared(b, "kept", 4 * mega)
      const ops = [{ op: "write", from: own.slice(), to: { buffer: "kept" } }] as const
      const { done, progress } = yield* a.start({ peer: "b", ops })
      const seen = yield* Stream.runCollect(progress)
      assert.isAbove(seen.length, 3)
      for (const [index, { bytes, moved }] of seen.entries()) {
        assert.isTrue(index === 0 || moved > seen[index - 1]!.moved)
        assert.strictEqual(bytes, 4 * mega)
      }
      assert.deepStrictEqual(seen.at(-1), yield* done)
    })
  )

  it.sim("R14: finds everything ready after a warm-up", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ devices: ["x", "y"], wires: { gate: 50 } })
      const own = yield* shared(a, "own", mega, 1)
      yield* shared(b, "kept", mega)
      yield* a.warm("b")
      assert.strictEqual(net.attempts, 2)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.isBelow((yield* timed(write)).millis, 10)
      assert.strictEqual(net.attempts, 2)
    })
  )
})

describe("ways", () => {
  it.sim("R24: two islands of cards are learned by failures, and not tried again", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair({ devices: ["x", "y"] })
      const own = yield* shared(a, "own", mega, 1)
      const kept = yield* shared(b, "kept", mega)
      for (const card of ["x", "y"]) {
        fabric.strike({ _tag: "Cut", from: `a/${card}`, to: `b/${card}`, forMillis: hour })
        fabric.strike({ _tag: "Cut", from: `b/${card}`, to: `a/${card}`, forMillis: hour })
      }
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.isBelow((yield* timed(write)).millis, 1200)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      const { attempts } = net
      for (let turn = 0; turn < 20; turn++) {
        yield* Effect.sleep("10 seconds")
        assert.isBelow((yield* timed(write)).millis, 10)
      }
      assert.isAtMost(net.attempts - attempts, 1)
      assert.deepStrictEqual(
        [...net.links].map(({ local, peer }) => `${local} ${peer}`).toSorted(),
        ["a@x b@y", "a@y b@x"]
      )
    })
  )

  it.sim("R21: memory registered while a card is gone is used by it when it is back", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair({ devices: ["x", "y"] })
      const removal = { _tag: "DeviceRemoval", forMillis: 5_000 } as const
      fabric.strike({ ...removal, node: "a/x" })
      yield* Effect.sleep(10)
      const own = yield* shared(a, "own", mega, 1)
      const kept = yield* shared(b, "kept", mega)
      yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      yield* Effect.sleep("7 seconds")
      fabric.strike({ ...removal, node: "a/y" })
      yield* Effect.sleep(10)
      kept.bytes.fill(9)
      yield* b.write({ peer: "a", from: kept.slice(), to: { buffer: "own" } })
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      fabric.strike({ ...removal, node: "a/x" })
      yield* Effect.sleep(10)
      const late = yield* Effect.flip(a.register({ memory: mega }))
      assert.strictEqual(late._tag, "Released")
    })
  )

  it.sim("R24: a card that waits for one peer card tries another one meanwhile", seeds, () =>
    Effect.gen(function* () {
      const isSame = (local: string, peer: string) => local.at(-1) === peer.at(-1)
      const obstacle = (local: string, peer: string) =>
        isSame(local, peer) ? Effect.never : Effect.void
      const { a, b } = yield* pair({ devices: ["x", "y"], wires: { obstacle } })
      const own = yield* shared(a, "own", mega, 1)
      const kept = yield* shared(b, "kept", mega)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.isBelow((yield* timed(write)).millis, 400)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R24: an error names both cards, their queue pairs and their GIDs", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair({ settings: { unreachableAfterMs: 2000 } })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      fabric.strike({ _tag: "Cut", from: "a", to: "b", forMillis: hour })
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const { fault, message, moved, reason, unfinished } = yield* failed(write)
      assert.deepStrictEqual([reason, moved, unfinished], ["peer-unreachable", 0, [0]])
      const { nics } = yield* b.description
      assert.strictEqual(fault!.local, "a@sim0")
      assert.strictEqual(fault!.peer, "b@sim0")
      assert.strictEqual(fault!.peerGid, nics[0]!.gid)
      assert.match(fault!.localGid!, /^[0-9a-f]{32}$/)
      assert.isAbove(fault!.queuePair, 0)
      assert.strictEqual(fault!.peerQueuePairs.length, 2)
      assert.match(message, /a@sim0 .* to b@sim0 .*: retry-exceeded/)
    })
  )

  it.sim("R26: work goes on when a link ends right after its last post succeeds", seeds, () =>
    Effect.gen(function* () {
      const fifth = Deferred.makeUnsafe<ReadyLink & { isRetired?: boolean }>()
      let posts = 0
      const wires = {
        queuePairs: 1,
        depth: 1,
        // As an endpoint does that goes back, while the card still does what it was told.
        onPost: (link: ReadyLink) => {
          if (++posts === 5) Deferred.doneUnsafe(fifth, Effect.succeed(link))
        }
      }
      const { a, b } = yield* pair({ wires, settings })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const kept = yield* shared(b, "kept", 64 * kilo)
      yield* Effect.forkChild(
        Effect.map(Deferred.await(fifth), (link) => void (link.isRetired = true))
      )
      yield* a.warm("b")
      yield* Effect.sleep("1 second")
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      assert.isBelow((yield* timed(write)).millis, 1000)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R25: the work of a card that is pulled out goes over another one", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair({ devices: ["x", "y"], wires: { depth: 4 }, settings })
      const own = yield* shared(a, "own", 512 * kilo, 1)
      const kept = yield* shared(b, "kept", 512 * kilo)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const fiber = yield* Effect.forkChild(write)
      yield* Effect.sleep("2 millis")
      fabric.strike({ _tag: "DeviceRemoval", node: "a/x", forMillis: hour })
      yield* Fiber.join(fiber)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R25, R16: so do its writes that nobody has confirmed", seeds, () =>
    Effect.gen(function* () {
      for (const depth of [1, 2, 4]) {
        const { a, b, fabric } = yield* pair({
          acknowledges: false,
          devices: ["x", "y"],
          wires: { depth, queuePairs: 1 },
          settings
        })
        const own = yield* shared(a, "own", 256 * kilo, 1)
        const kept = yield* shared(b, "kept", 256 * kilo)
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        const fiber = yield* Effect.forkChild(write)
        yield* Effect.sleep(2 + depth / 8)
        fabric.strike({ _tag: "DeviceRemoval", node: "a/x", forMillis: hour })
        const { millis } = yield* timed(Fiber.join(fiber))
        assert.isBelow(millis, 5_000)
        assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      }
    })
  )

  it.sim("R13: a peer whose queue pairs die after each connect is asked few times", seeds, () =>
    Effect.gen(function* () {
      const kills = { on: true }
      const lab = yield* pair({
        wires: {
          onPost: () => {
            if (kills.on) lab.fabric.strike({ _tag: "QueuePairError", node: "a", step: "running" })
          }
        }
      })
      const { a, b, net } = lab
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const fiber = yield* Effect.forkChild(write)
      yield* Effect.sleep("10 seconds")
      assert.isAtMost(net.attempts, 9)
      assert.isAtLeast(net.attempts, 6)
      kills.on = false
      yield* Fiber.join(fiber)
      // Data has moved: the next loss is met at once again.
      kills.on = true
      const { attempts } = net
      const again = yield* Effect.forkChild(write)
      yield* Effect.sleep("200 millis")
      assert.isAtLeast(net.attempts, attempts + 2)
      kills.on = false
      yield* Fiber.join(again)
    })
  )

  it.sim("H12: an attempt that is refused at once burns no attempt of a slice", seeds, () =>
    Effect.gen(function* () {
      const refusal = { left: 12 }
      const obstacle = () =>
        Effect.suspend(() =>
          refusal.left-- > 0 ? Effect.fail({ _tag: "Rejected", message: "no" }) : Effect.void
        )
      const { a, b, net } = yield* pair({ wires: { obstacle } })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const { millis } = yield* timed(write)
      assert.isAbove(millis, 10_000)
      assert.strictEqual(net.attempts, 13)
      assert.strictEqual(net.posts, 1)
    })
  )

  it.sim("H15, R12: a lost acknowledgement costs its own wait and no more", seeds, () =>
    Effect.gen(function* () {
      const lost = { once: true }
      const obstacle = () =>
        Effect.suspend(() => {
          if (!lost.once) return Effect.void
          lost.once = false
          const message = "no ready acknowledgement within 10 s"
          return Effect.delay(Effect.fail({ _tag: "GateTimeout", message }), "10 seconds")
        })
      const { a, b, net } = yield* pair({ wires: { obstacle } })
      const own = yield* shared(a, "own", 15_000, 1)
      const kept = yield* shared(b, "kept", 15_000)
      const write = (index: number) => {
        const from = own.slice(index * 1000, 1000)
        const to = { buffer: "kept", offset: index * 1000 }
        return timed(Effect.delay(a.write({ peer: "b", from, to }), index * 700))
      }
      const writes = Array.from({ length: 15 }, (_, index) => write(index))
      const all = yield* Effect.all(writes, { concurrency: "unbounded" })
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      for (const { millis } of all) assert.isBelow(millis, 10_100)
      assert.strictEqual(net.attempts, 2)
      assert.strictEqual(net.posts, 15)
    })
  )

  it.sim("R33, H13: a peer that moved is found again after a failed connect", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair()
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      yield* a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      // It starts again elsewhere, with other keys, under the same name in the directory.
      fabric.crash("b")
      const c = yield* host(net, "c", SimVerbs.layer(fabric, { host: "c" }))
      const kept = yield* shared(c, "kept", 1000)
      net.engines.set("b", c)
      net.nics.delete("b@sim0")
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const { millis } = yield* timed(write)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      // The card repeats its message for about half a second before it tells.
      assert.isBelow(millis, 1000)
    })
  )
})

describe("a peer that registers its memory anew", () => {
  it.sim("R33: is asked for its keys again, and nothing of a transfer is lost", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const before = yield* Scope.make()
      yield* Scope.provide(shared(b, "kept", 64 * kilo), before)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* write
      yield* Scope.close(before, Exit.void)
      const kept = yield* shared(b, "kept", 64 * kilo)
      // The link is as it was: only the peer can tell that the key is void.
      assert.isBelow((yield* timed(write)).millis, 100)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      assert.deepStrictEqual([net.lookups, net.attempts], [2, 2])
    })
  )

  it.sim("T1: is sought each time that it lacks memory for a while", seeds, () =>
    Effect.gen(function* () {
      const { a, b } = yield* pair({ settings })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      for (let turn = 0; turn < 3; turn++) {
        const scope = yield* Scope.make()
        yield* Scope.provide(shared(b, "kept", 64 * kilo), scope)
        yield* write
        yield* Scope.close(scope, Exit.void)
        const moving = yield* Effect.forkChild(write)
        yield* Effect.sleep("3 seconds")
        assert.isUndefined(moving.pollUnsafe())
        const next = yield* Scope.make()
        const kept = yield* Scope.provide(shared(b, "kept", 64 * kilo), next)
        assert.isBelow((yield* timed(Fiber.join(moving))).millis, 6_000)
        assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
        yield* Scope.close(next, Exit.void)
      }
    })
  )
})

describe("descriptions", () => {
  it.sim(
    "T8: longer than peers take are refused at register, and there is place again",
    exact,
    () =>
      Effect.gen(function* () {
        const { a, b } = yield* pair({ settings })
        const own = yield* shared(a, "own", 64, 1)
        const buffer = new SharedArrayBuffer(64)
        const access = ["local-write", "remote-write"] as const
        const register = (name: string) => b.register({ name, memory: buffer, access })
        const scope = yield* Scope.make()
        let count = 0
        let refused: { readonly _tag: string } | undefined = undefined
        while (refused === undefined && count < 8_000) {
          // What must be escaped is the longest.
          const exit = yield* Effect.result(Scope.provide(register(`\u00fc"${count}`), scope))
          if (Result.isFailure(exit)) refused = exit.failure
          else count += 1
        }
        assert.strictEqual(refused?._tag, "DescriptionFull")
        assert.isAbove(count, 3_000)
        const text = SegmentDescriptor.encode(Segment.fromDescription("b", yield* b.description))
        assert.isAtMost(Buffer.byteLength(text), 1_048_576)
        assert.isAtLeast(Buffer.byteLength(text), 500_000)
        const last = { buffer: `\u00fc"${count - 1}` }
        yield* a.write({ peer: "b", from: own.slice(), to: last })
        yield* Scope.close(scope, Exit.void)
        yield* register("again")
      })
  )

  it.sim("T3: memory that a peer registers later is found, also after a warm-up", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", kilo, 1)
      yield* shared(b, "first", kilo)
      yield* a.warm("b")
      const write = (name: string) =>
        a.write({ peer: "b", from: own.slice(), to: { buffer: name } })
      yield* write("first")
      const error = yield* Effect.flip(write("second"))
      assert.deepInclude(error, { _tag: "InvalidTransfer", lacks: "peer-memory" })
      const second = yield* shared(b, "second", kilo)
      yield* write("second")
      assert.strictEqual(differsAt(own.bytes, second.bytes), -1)
      // What fits what is known is worth no question.
      const { lookups } = net
      yield* write("second")
      assert.strictEqual(net.lookups, lookups)
    })
  )

  it.sim("T3: an older one that comes late changes nothing", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", kilo, 1)
      const before = yield* b.description
      const kept = yield* shared(b, "kept", kilo)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* write
      kept.bytes.fill(0)
      for (const link of net.links) net.retire(link, "lost")
      net.said.set("b", before)
      yield* write
      assert.strictEqual(net.lookups, 2)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("a peer that cannot be reached", () => {
  it.sim("R12: is given up after a while, refused for a while, and tried again", seeds, () =>
    Effect.gen(function* () {
      const wall = { up: true }
      const obstacle = () => Effect.suspend(() => (wall.up ? Effect.never : Effect.void))
      const { a, b, net } = yield* pair({ wires: { obstacle } })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const first = yield* timed(failed(write))
      assert.strictEqual(first.value.reason, "peer-unreachable")
      assert.isTrue(first.millis >= 30_000 && first.millis < 31_000, `${first.millis}`)
      const { attempts } = net
      const second = yield* timed(failed(write))
      assert.strictEqual(second.value.reason, "peer-unreachable")
      assert.isBelow(second.millis, 10)
      assert.strictEqual(net.attempts, attempts)
      yield* Effect.sleep("5 seconds")
      wall.up = false
      yield* write
    })
  )

  it.sim("R28, R12, H11: does not slow the others down", seeds, () =>
    Effect.gen(function* () {
      const black = (peer: string) => peer.startsWith("p3")
      const obstacle = (_: string, peer: string) => (black(peer) ? Effect.never : Effect.void)
      const { a, fabric, net } = yield* pair({ wires: { obstacle }, completions: 64, settings })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const names = Array.from({ length: 8 }, (_, index) => `p${index}`)
      for (const name of names) {
        const peer = yield* host(net, name, SimVerbs.layer(fabric, { host: name }))
        yield* shared(peer, "kept", 64 * kilo)
      }
      const write = (peer: string) => a.write({ peer, from: own.slice(), to: { buffer: "kept" } })
      const healthy = names.filter((name) => !black(name))
      const all = (some: ReadonlyArray<string>) =>
        Effect.forEach(some, (name) => timed(write(name)), { concurrency: "unbounded" })
      yield* all(healthy)
      const alone = yield* all(healthy)
      const stuck = yield* Effect.forkChild(failed(write("p3")))
      for (let turn = 0; turn < 8; turn++) {
        yield* Effect.sleep("500 millis")
        const slowest = Math.max(...(yield* all(healthy)).map(({ millis }) => millis))
        assert.isAtMost(slowest, Math.max(...alone.map(({ millis }) => millis)) + 5)
      }
      assert.strictEqual((yield* Fiber.join(stuck)).reason, "peer-unreachable")
    })
  )

  it.sim("R28: holds no more of the card than its share when it dies", seeds, () =>
    Effect.gen(function* () {
      const { a, fabric, net } = yield* pair({
        completions: 64,
        settings: { ...settings, quantum: 4 }
      })
      const own = yield* shared(a, "own", 512 * kilo, 1)
      const names = Array.from({ length: 8 }, (_, index) => `p${index}`)
      for (const name of names) {
        const peer = yield* host(net, name, SimVerbs.layer(fabric, { host: name }))
        yield* shared(peer, "kept", 512 * kilo)
        yield* a.warm(name)
      }
      const write = (peer: string) => a.write({ peer, from: own.slice(), to: { buffer: "kept" } })
      fabric.strike({ _tag: "Cut", from: "p3", to: "a", forMillis: 3000 })
      const fibers = yield* Effect.forEach(names, (name) => Effect.forkChild(timed(write(name))))
      const all = yield* Effect.forEach(fibers, Fiber.join)
      for (const [index, { millis }] of all.entries()) {
        // What is repeated in the very moment in which the cut ends arrives.
        if (index === 3) assert.isAtLeast(millis, 3000)
        else assert.isBelow(millis, 100)
      }
    })
  )
})

describe("an engine", () => {
  it.sim("R26: gives up a link on which nothing ends, and ends its work elsewhere", exact, () =>
    Effect.gen(function* () {
      // These cards repeat their messages for ever and tell nobody.
      const { a, b, fabric, net } = yield* pair({
        devices: ["x", "y"],
        wires: { timeout: 0, depth: 4 },
        settings
      })
      const own = yield* shared(a, "own", 256 * kilo, 1)
      const kept = yield* shared(b, "kept", 256 * kilo)
      fabric.strike({ _tag: "Cut", from: "b/x", to: "a/x", forMillis: hour })
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const { millis } = yield* timed(write)
      assert.isTrue(millis >= 10_000 && millis < 16_000, `${millis}`)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
      assert.include(net.retired, "stalled")
    })
  )

  it.sim("R33: asks again while a peer that is not known yet does not answer", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings: { unreachableAfterMs: 5_000 } })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = { peer: "b", from: own.slice(), to: { buffer: "kept" } }
      const silent = new NoDescription({ peer: "b", reason: "unanswered", detail: "nobody there" })
      net.answers = Effect.fail(silent)
      const inTime = yield* Effect.flip(a.write({ ...write, within: "2 seconds" }))
      assert.deepInclude(inTime, { _tag: "TransferFailed", reason: "deadline" })
      assert.deepStrictEqual(yield* Effect.flip(a.write(write)), silent)
      const moving = yield* Effect.forkChild(a.write(write))
      yield* Effect.sleep("1 second")
      net.answers = Effect.void
      assert.deepStrictEqual(yield* Fiber.join(moving), { moved: 1000, bytes: 1000 })
    })
  )

  it.sim("R13: uses a link that its peer has opened, whenever its own next try is", seeds, () =>
    Effect.gen(function* () {
      let isRefused = true
      const refused = { _tag: "Refused", message: "not now" }
      const obstacle = () => (isRefused ? Effect.fail(refused) : Effect.void)
      const waits = { firstWaitMs: 60_000, longestWaitMs: 60_000, unreachableAfterMs: 600_000 }
      const { a, b, net } = yield* pair({ settings: waits, wires: { obstacle } })
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const moving = yield* Effect.forkChild(timed(write))
      yield* Effect.sleep("1 second")
      isRefused = false
      const link = yield* net.open(net.nics.get("a@sim0")!, "b@sim0")
      const { lookups } = net
      net.listeners.get("a")!(link)
      const { millis } = yield* Fiber.join(moving)
      assert.isBelow(millis, 2_000)
      // Who begins anew has other keys, so the peer was asked for them first.
      assert.strictEqual(net.lookups, lookups + 1)
    })
  )

  it.sim("R33: asks a silent directory once for all, and never on the way of data", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair()
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      yield* Effect.all([write, write, write], { concurrency: 3 })
      assert.strictEqual(net.lookups, 1)
      // The link is lost while the directory is silent: what is known is used as far as it goes.
      net.answers = Effect.delay(Effect.void, "10 seconds")
      for (const link of net.links) net.retire(link, "lost")
      const all = Array.from({ length: 5 }, () => timed(write))
      for (const { millis } of yield* Effect.all(all, { concurrency: 5 })) {
        assert.isTrue(millis >= 10_000 && millis < 10_100, `${millis}`)
      }
      assert.strictEqual(net.lookups, 2)
    })
  )

  it.sim("says so when its last card is gone", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair({ wires: { depth: 8 }, settings })
      const own = yield* shared(a, "own", 256 * kilo, 1)
      yield* shared(b, "kept", 256 * kilo)
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 20 })
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const fiber = yield* Effect.forkChild(failed(write))
      yield* Effect.sleep("50 millis")
      fabric.strike({ _tag: "DeviceRemoval", node: "a", forMillis: hour })
      for (const error of [yield* Fiber.join(fiber), yield* failed(write)]) {
        assert.strictEqual(error.reason, "peer-unreachable")
        assert.match(error.detail, /no local NIC/)
      }
    })
  )

  it.sim(
    "R32: counts what moved, what was opened, what was lost and how transfers ended",
    exact,
    () =>
      Effect.gen(function* () {
        const { a, b, fabric } = yield* pair({ settings, wires: { depth: 4 } })
        const own = yield* shared(a, "own", 64 * kilo, 1)
        yield* shared(b, "kept", 64 * kilo)
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        yield* write
        fabric.strike({ _tag: "RetryExhaustion", node: "a" })
        yield* write
        yield* a.read({ peer: "b", from: { buffer: "kept" }, to: own.slice(0, 1000) })
        yield* failed(
          a.read({ peer: "b", from: { buffer: "kept" }, to: own.slice(), within: 0.001 })
        )
        const counts: Record<string, number> = {}
        for (const { attributes, id, state } of yield* Metric.snapshot) {
          const label = Object.values(attributes ?? {}).join(" ")
          counts[`${id.replace("handfast_transfer_", "")} ${label}`.trim()] = (
            state as { readonly count: number }
          ).count
        }
        assert.strictEqual(counts["moved_bytes_total write"], 128 * kilo)
        assert.isAtLeast(counts["moved_bytes_total read"]!, 1000)
        assert.isAtLeast(counts["slices_total"]!, 33)
        assert.strictEqual(counts["opens_total ready"], 2)
        assert.strictEqual(counts["lost_links_total rail"], 1)
        assert.isAtLeast(counts["failed_slices_total"]!, 1)
        assert.strictEqual(counts["ended_total moved"], 3)
        assert.strictEqual(counts["ended_total deadline"], 1)
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
  )
})

describe("a transfer without a deadline", () => {
  /** Both end with an error, or go on: within two minutes. */
  const end = Effect.fnUntraced(function* (silence: "describes no NIC" | "never answers") {
    const { a, b, net } = yield* pair({ settings })
    const own = yield* shared(a, "own", kilo, 1)
    const kept = yield* shared(b, "kept", kilo)
    const { buffers } = yield* b.description
    const bare = buffers.map((buffer) => Object.assign({}, buffer, { keys: [] }))
    const [told] = bare
    const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
    // It was known once.
    yield* write
    for (const link of net.links) net.retire(link, "lost")
    const still = () => {
      if (silence === "never answers") net.answers = Effect.never
      else net.said.set("b", { nics: [], buffers: [told] })
    }
    still()
    const moving = yield* Effect.forkChild(write)
    yield* Effect.sleep("1 milli")
    const warming = yield* Effect.forkChild(a.warm("b"))
    yield* Effect.sleep("5 seconds")
    net.answers = Effect.void
    net.said.delete("b")
    yield* Fiber.join(warming)
    yield* Fiber.join(moving)
    assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    for (const link of net.links) net.retire(link, "lost")
    still()
    for (const which of [write, a.warm("b")]) {
      const { millis, value } = yield* timed(Effect.exit(Effect.timeout(which, "2 minutes")))
      assert.strictEqual(value._tag, "Failure")
      assert.isBelow(millis, 119_000)
    }
  })

  it.sim("T7: ends, or goes on, if its peer describes no NIC for a while", seeds, () =>
    end("describes no NIC")
  )
  it.sim("T7: ends, or goes on, if the directory never answers", seeds, () => end("never answers"))
  it.sim("T7: ends if the peer has never been known", seeds, () =>
    Effect.gen(function* () {
      const { a, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", kilo, 1)
      for (const answers of [Effect.never, Effect.void]) {
        net.answers = answers
        net.said.set("b", { nics: [], buffers: [] })
        const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
        for (const which of [write, a.warm("b")]) {
          const exit = yield* Effect.exit(Effect.timeout(which, "2 minutes"))
          assert.strictEqual(exit._tag, "Failure")
          assert.notInclude(JSON.stringify(exit), "TimeoutError")
        }
      }
    })
  )
})

describe("a transfer that is stopped", () => {
  it.sim("T6: costs its neighbours on the same link no attempt", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair({
        wires: { depth: 16, queuePairs: 1 },
        settings: { ...settings, attempts: 2, drainWithinMs: 5, quantum: 2 }
      })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const kept = yield* shared(b, "kept", 64 * kilo)
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: 500, millis: 40 })
      const write = { peer: "b", from: own.slice(), to: { buffer: "kept" } }
      const innocent = yield* Effect.forkChild(a.write(write))
      const neighbours = yield* Effect.replicateEffect(Effect.forkChild(a.write(write)), 6)
      for (const neighbour of neighbours) {
        yield* Effect.sleep("10 millis")
        yield* Fiber.interrupt(neighbour)
      }
      assert.isAbove(net.retired.length, 3)
      const { millis } = yield* timed(Fiber.join(innocent))
      assert.isBelow(millis, 1_000)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("T12: by its deadline, says how much it was and what is known of the cause", exact, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", 8 * kilo, 1)
      yield* shared(b, "kept", 8 * kilo)
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" }, within: 900 })
      const detail = "connect ECONNREFUSED 10.0.0.2:1"
      net.answers = Effect.fail(new NoDescription({ peer: "b", reason: "unanswered", detail }))
      const first = yield* failed(write)
      assert.deepStrictEqual([first.reason, first.moved, first.bytes], ["deadline", 0, 8 * kilo])
      assert.deepStrictEqual(first.unfinished, [0])
      assert.include(first.message, "ECONNREFUSED")
      net.answers = Effect.void
      fabric.strike({ _tag: "Cut", from: "a", to: "b", forMillis: hour })
      const second = yield* failed(write)
      assert.deepStrictEqual([second.moved, second.bytes], [0, 8 * kilo])
      assert.strictEqual(second.fault!.status, "retry-exceeded")
    })
  )

  it.sim("T13: by its deadline, counts the time until its peer was known", exact, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair()
      const own = yield* shared(a, "own", 1000, 1)
      yield* shared(b, "kept", 1000)
      net.answers = Effect.sleep("4 seconds")
      net.isStuck = true
      const within = "5 seconds"
      const write = { peer: "b", from: own.slice(), to: { buffer: "kept" }, within } as const
      const { millis, value } = yield* timed(Effect.flip(a.write(write)))
      assert.deepInclude(value, { _tag: "TransferFailed", reason: "deadline" })
      assert.closeTo(millis, 5_000, 50)
    })
  )

  it.sim("R27: by its caller, leaves memory alone once it has returned", { seeds: 30 }, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair({ wires: { depth: 8 }, settings })
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(shared(a, "own", 256 * kilo, 1), scope)
      const kept = yield* shared(b, "kept", 256 * kilo, 2)
      yield* a.warm("b")
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 20 })
      const half = 128 * kilo
      const fiber = yield* Effect.forkChild(
        a.transfer({
          peer: "b",
          ops: [
            { op: "write", from: own.slice(0, half), to: { buffer: "kept" } },
            { op: "read", from: { buffer: "kept", offset: half }, to: own.slice(half) }
          ]
        })
      )
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(fiber)
      const { posts } = net
      assert.isTrue(posts > 0 && posts < 64, `${posts}`)
      own.bytes.fill(0xee)
      yield* Effect.sleep("10 seconds")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(net.posts, posts)
      assert.strictEqual(
        own.bytes.findIndex((byte) => byte !== 0xee),
        -1
      )
      const [before, after] = [pattern(256 * kilo, 2), pattern(256 * kilo, 1)]
      const wrong = kept.bytes.findIndex((byte, at) => byte !== before[at] && byte !== after[at])
      assert.strictEqual(wrong, -1)
      assert.strictEqual(fabric.resources("a").regions, 0)
    })
  )

  it.sim("R27: by its deadline, says what moved and drains even a peer that is silent", exact, () =>
    Effect.gen(function* () {
      const { a, b, fabric, net } = yield* pair({ wires: { depth: 8, timeout: 0 }, settings })
      const own = yield* shared(a, "own", 256 * kilo, 1)
      const kept = yield* shared(b, "kept", 256 * kilo)
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 5 })
      const ops = [
        { op: "write", from: own.slice(0, 1000), to: { buffer: "kept" } },
        { op: "write", from: own.slice(1000), to: { buffer: "kept", offset: 1000 } }
      ] as const
      yield* a.warm("b")
      yield* Effect.forkChild(
        Effect.delay(
          Effect.sync(() => fabric.strike({ _tag: "Cut", from: "b", to: "a", forMillis: hour })),
          "17 millis"
        )
      )
      const stopped = yield* timed(failed(a.transfer({ peer: "b", ops, within: "30 millis" })))
      const { bytes, moved, reason, unfinished } = stopped.value
      assert.deepStrictEqual([reason, bytes, unfinished], ["deadline", 256 * kilo, [1]])
      assert.isTrue(moved > 1000 && moved < bytes, `${moved}`)
      assert.isBelow(stopped.millis, 1200)
      assert.strictEqual(differsAt(own.bytes.subarray(0, 1000), kept.bytes), -1)
      const { posts } = net
      yield* Effect.sleep("10 seconds")
      assert.strictEqual(net.posts, posts)
    })
  )

  it.sim("R26: ends once, also if its deadline and its last completion meet", exact, () =>
    Effect.gen(function* () {
      const { a, b } = yield* pair({ wires: { depth: 4 }, settings: { sliceBytes: 256 } })
      const own = yield* shared(a, "own", 16 * kilo, 1)
      const kept = yield* shared(b, "kept", 16 * kilo)
      yield* a.warm("b")
      const write = (within?: number) =>
        a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" }, within })
      yield* write()
      let [ends, deadlines] = [0, 0]
      for (let micros = 1; micros < 400; micros += 7) {
        kept.bytes.fill(0)
        const exit = yield* Effect.exit(write(micros / 1000))
        ends += 1
        if (Exit.isSuccess(exit)) assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
        else {
          deadlines += 1
          const error = yield* failed(Effect.flatten(Effect.succeed(exit)))
          assert.strictEqual(error.reason, "deadline")
          assert.isBelow(error.moved, 16 * kilo)
          const there = kept.bytes.filter((byte, at) => byte === own.bytes[at]).length
          assert.isAtLeast(there, error.moved)
        }
      }
      assert.isTrue(deadlines > 0 && deadlines < ends, `${deadlines} of ${ends}`)
    })
  )

  it.sim("R27: by the release of its memory, ends before the memory goes", seeds, () =>
    Effect.gen(function* () {
      const { a, b, fabric } = yield* pair({ wires: { depth: 8 }, settings })
      const scope = yield* Scope.make()
      const own = yield* Scope.provide(shared(a, "own", 256 * kilo, 1), scope)
      yield* shared(b, "kept", 256 * kilo)
      yield* a.warm("b")
      fabric.strike({ _tag: "Delay", from: "a", to: "b", forMillis: hour, millis: 20 })
      const read = a.read({ peer: "b", from: { buffer: "kept" }, to: own.slice() })
      const fiber = yield* Effect.forkChild(failed(read))
      yield* Effect.sleep("50 millis")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(fiber)).reason, "memory-released")
      own.bytes.fill(0xee)
      yield* Effect.sleep("10 seconds")
      assert.strictEqual(
        own.bytes.findIndex((byte) => byte !== 0xee),
        -1
      )
      const late = yield* Effect.flip(
        a.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      )
      assert.strictEqual(late._tag, "InvalidTransfer")
    })
  )

  it.sim("by the end of its engine, leaves nothing", seeds, () =>
    Effect.gen(function* () {
      const { b, fabric, net } = yield* pair({ wires: { depth: 8 } })
      fabric.strike({ _tag: "Delay", from: "c", to: "b", forMillis: hour, millis: 20 })
      const scope = yield* Scope.make()
      const c = yield* Scope.provide(host(net, "c", SimVerbs.layer(fabric, { host: "c" })), scope)
      const own = yield* Scope.provide(shared(c, "own", 4 * mega, 1), scope)
      yield* shared(b, "kept", 4 * mega)
      const write = c.write({ peer: "b", from: own.slice(), to: { buffer: "kept" } })
      const fiber = yield* Effect.forkChild(failed(write))
      yield* Effect.sleep("30 millis")
      yield* Scope.close(scope, Exit.void)
      assert.include(["closed", "memory-released"], (yield* Fiber.join(fiber)).reason)
      const { completionQueues, protectionDomains, queuePairs, regions } = fabric.resources("c")
      assert.deepStrictEqual(
        [completionQueues, protectionDomains, queuePairs, regions],
        [0, 0, 0, 0]
      )
    })
  )

  it.sim("R31: by a key that the peer refuses, without harm to others", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings: { ...settings, attempts: 2 } })
      const own = yield* shared(a, "own", 64 * kilo, 1)
      const kept = yield* shared(b, "kept", 64 * kilo)
      const { buffers, nics } = yield* b.description
      const [buffer] = buffers
      net.said.set("b", { nics, buffers: [...buffers, { ...buffer, name: "lie", keys: [99] }] })
      const write = (name: string) =>
        a.write({ peer: "b", from: own.slice(), to: { buffer: name } })
      const good = yield* Effect.forkChild(Effect.replicateEffect(write("kept"), 20))
      for (let turn = 0; turn < 5; turn++) {
        const { fault, reason } = yield* failed(write("lie"))
        assert.strictEqual(reason, "refused")
        assert.strictEqual(fault!.status, "remote-access")
      }
      yield* Fiber.join(good)
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )
})

describe("a request that the peer's memory is not for", () => {
  it.sim("R31: is refused at once by its description, and nothing is posted", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", 64, 1)
      const scope = yield* Scope.make()
      const ro = { name: "ro", memory: 64, access: ["remote-read"] } as const
      yield* Scope.provide(b.register(ro), scope)
      const read = a.read({ peer: "b", from: { buffer: "ro" }, to: own.slice() })
      const write = a.write({ peer: "b", from: own.slice(), to: { buffer: "ro" } })
      yield* read
      const { attempts, posts } = net
      const { millis, value } = yield* timed(failed(write))
      assert.deepInclude(value, { reason: "refused", moved: 0, unfinished: [0] })
      assert.deepStrictEqual([millis, net.posts, net.attempts], [0, posts, attempts])
      assert.strictEqual((yield* timed(read)).millis < 50, true)
      // The peer may have registered it in another way since: its description is asked for again.
      yield* Scope.close(scope, Exit.void)
      const kept = yield* shared(b, "ro", 64)
      yield* write
      assert.strictEqual(differsAt(own.bytes, kept.bytes), -1)
    })
  )

  it.sim("R31: ends that transfer alone if the card refuses it, and no way waits", seeds, () =>
    Effect.gen(function* () {
      const { a, b, net } = yield* pair({ settings })
      const own = yield* shared(a, "own", 64, 1)
      const access = ["remote-read"] as const
      yield* b.register({ name: "ro", memory: 64, access })
      const { buffers, nics } = yield* b.description
      net.said.set("b", { nics, buffers: buffers.map(withoutRights) })
      const read = a.read({ peer: "b", from: { buffer: "ro" }, to: own.slice() })
      yield* read
      for (let turn = 0; turn < 5; turn++) {
        const refused = failed(a.write({ peer: "b", from: own.slice(), to: { buffer: "ro" } }))
        const { millis, value } = yield* timed(Effect.tap(refused, () => read))
        assert.strictEqual(value.reason, "refused")
        assert.isBelow(millis, 50)
      }
    })
  )
})

describe("a card", () => {
  it.sim("R30: is shared fairly by eight peers", seeds, () =>
    Effect.gen(function* () {
      const { a, fabric, net } = yield* pair({
        completions: 64,
        settings: { ...settings, quantum: 4 }
      })
      const own = yield* shared(a, "own", mega, 1)
      const names = Array.from({ length: 8 }, (_, index) => `p${index}`)
      for (const name of names) {
        const peer = yield* host(net, name, SimVerbs.layer(fabric, { host: name }))
        yield* shared(peer, "kept", mega)
        yield* a.warm(name)
      }
      const to = { buffer: "kept" }
      const transfers = yield* Effect.forEach(names, (peer, index) => {
        const parts = index % 2 === 0 ? 1 : 4
        const length = mega / parts
        const ops = Array.from({ length: parts }, (_, part) => ({
          op: "write" as const,
          from: own.slice(part * length, length),
          to: { ...to, offset: part * length }
        }))
        return a.start({ peer, ops })
      })
      yield* Effect.raceAllFirst(transfers.map(({ done }) => done))
      const moved = yield* Effect.forEach(transfers, ({ progress }) =>
        Effect.map(Stream.runHead(progress), (head) =>
          head._tag === "Some" ? head.value.moved : 0
        )
      )
      const sum = moved.reduce((total, one) => total + one, 0)
      const squares = moved.reduce((total, one) => total + one * one, 0)
      const jain = (sum * sum) / (8 * squares)
      assert.isAbove(jain, 0.95, moved.map((one) => Math.round(one / kilo)).join(" "))
    })
  )
})
