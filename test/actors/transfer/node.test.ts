/**
 * Goal: two nodes find each other by nothing but a name, shake hands over TCP, and move bytes over
 * software iWARP, or over several cards of a simulated fabric. Method: both in this process, on
 * loopback.
 */
import * as channel from "node:diagnostics_channel"
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import { Endpoints } from "../../../src/actors/endpoint/Endpoints.ts"
import { Nics } from "../../../src/actors/rdma/Nics.ts"
import { TransferEngine } from "../../../src/actors/transfer/TransferEngine.ts"
import { TransferNode } from "../../../src/actors/transfer/TransferNode.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { SimFabric } from "../../../src/native/sim/SimFabric.ts"
import * as SimVerbs from "../../../src/native/sim/SimVerbs.ts"
import * as IwarpVerbs from "../../../src/native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { FrameType } from "../../../src/schema/mooncake/Frame.ts"
import * as SegmentDescriptor from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import { success } from "../../schema/mooncake/vectors.ts"
import { ask, frameIn, script, typed } from "../endpoint/tcp.ts"

const node = Layer.build(
  TransferNode.layer({ host: "127.0.0.1", peers: ["127.0.0.1"], handshake: { port: 0 } }).pipe(
    Layer.provide([IwarpVerbs.layer({ on: "main", pool: { workers: 0 } }), Journal.layerMemory])
  )
)

const everything = ["local-write", "remote-write", "remote-read"] as const

const listens = (port: number) =>
  Effect.callback<void, Error>((resume) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.once("error", (error) => resume(Effect.fail(error)))
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.void)
    })
  })

describe("two nodes", () => {
  it.live("move memory both ways, by names alone", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* node, yield* node]
      const here = Context.get(a, TransferEngine)
      const there = Context.get(b, TransferEngine)
      const { server: peer } = Context.get(b, TransferNode)
      const bytes = 1 << 20
      const inbox = yield* there.register({ name: "inbox", memory: bytes, access: everything })
      const own = yield* here.register({ name: "own", memory: bytes, access: everything })
      own.bytes.fill(7)
      const to = { buffer: "inbox" }
      const moved = yield* here.transfer({
        durable: true,
        id: "first",
        peer,
        ops: [{ op: "write", from: own.slice(), to }]
      })
      assert.deepStrictEqual(moved, { moved: bytes, bytes })
      assert.isTrue(inbox.bytes.every((byte) => byte === 7))
      yield* Context.get(a, TransferNode).probe(peer)
      yield* Context.get(a, TransferNode).notify(peer, { name: "inbox", message: "it is full" })
      assert.deepStrictEqual(yield* Queue.take(Context.get(b, TransferNode).notifies), {
        name: "inbox",
        message: "it is full"
      })
      inbox.bytes.fill(9)
      yield* here.read({ peer, from: to, to: own.slice() })
      assert.isTrue(own.bytes.every((byte) => byte === 9))
    })
  )

  it.live("T12: one alone moves memory to itself, as far as that is for others", () =>
    Effect.gen(function* () {
      const a = yield* node
      const engine = Context.get(a, TransferEngine)
      const { server: peer } = Context.get(a, TransferNode)
      const bytes = 3 << 20
      const inbox = yield* engine.register({ name: "inbox", memory: bytes, access: everything })
      const own = yield* engine.register({ name: "own", memory: bytes })
      own.bytes.fill(7)
      const moved = yield* engine.write({ peer, from: own.slice(5), to: { buffer: "inbox" } })
      assert.deepStrictEqual(moved, { moved: bytes - 5, bytes: bytes - 5 })
      assert.deepStrictEqual([inbox.bytes[bytes - 6], inbox.bytes[bytes - 5]], [7, 0])
      inbox.bytes.fill(9)
      yield* engine.read({ peer, from: { buffer: "inbox", offset: 5 }, to: own.slice(0, 10) })
      assert.deepStrictEqual([...own.bytes.subarray(8, 12)], [9, 9, 7, 7])
      const readOnly = yield* engine.register({ name: "ro", memory: 64, access: ["remote-read"] })
      const error = yield* Effect.flip(
        engine.write({ peer, from: own.slice(0, 64), to: { buffer: readOnly.name } })
      )
      assert.deepInclude(error, { _tag: "TransferFailed", reason: "refused" })
    })
  )

  it.live("T12: one alone ends a transfer to itself when its time is over", () =>
    Effect.gen(function* () {
      const a = yield* node
      const engine = Context.get(a, TransferEngine)
      const { server: peer } = Context.get(a, TransferNode)
      const bytes = 256 << 20
      yield* engine.register({ name: "inbox", memory: bytes, access: everything })
      const own = yield* engine.register({ name: "own", memory: bytes })
      const write = (length: number, within?: number) =>
        engine.write({ peer, from: own.slice(0, length), to: { buffer: "inbox" }, within })
      yield* write(1)
      const error = yield* Effect.flip(write(bytes, 1))
      assert.deepInclude(error, { reason: "deadline", bytes, unfinished: [0] })
    })
  )

  it.live("T5: one begins without a thread of its own", () =>
    Effect.gen(function* () {
      let workers = 0
      const count = (): void => void (workers += 1)
      channel.subscribe("worker_threads", count)
      yield* node
      channel.unsubscribe("worker_threads", count)
      assert.strictEqual(workers, 0)
    })
  )

  it.live("one registers one of two memories of a name", () =>
    Effect.gen(function* () {
      const engine = Context.get(yield* node, TransferEngine)
      const register = Effect.exit(engine.register({ name: "inbox", memory: 64 }))
      const both = yield* Effect.all([register, register], { concurrency: 2 })
      const tags = both.map((exit) => (Exit.isSuccess(exit) ? "" : String(exit.cause)))
      assert.match(tags.join(""), /^\D*inbox is registered already\D*$/)
    })
  )

  it.live("R31: with two cards each use all of them, by one address of a buffer", () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const cards = ["x", "y"]
      const on = (host: string) =>
        Layer.build(
          TransferNode.layer({
            host: "127.0.0.1",
            peers: ["127.0.0.1"],
            nics: cards,
            handshake: { port: 0 }
          }).pipe(
            Layer.provide([SimVerbs.layer(fabric, { host, devices: cards }), Journal.layerMemory])
          )
        )
      const [a, b] = [yield* on("a"), yield* on("b")]
      const here = Context.get(a, TransferEngine)
      const { server: peer } = Context.get(b, TransferNode)
      const bytes = 4 << 20
      const inbox = yield* Context.get(b, TransferEngine).register({
        name: "inbox",
        memory: bytes,
        access: everything
      })
      const own = yield* here.register({ memory: bytes })
      own.bytes.fill(7)
      // What anybody is told who asks.
      const question = typed("{}", FrameType.metadata)
      const answer = frameIn(yield* ask(Number(peer.split(":")[1]), question))!
      const [buffer] = success(SegmentDescriptor.decode(answer.text)).buffers
      assert.strictEqual(buffer!.rkey.length, 2)
      yield* here.warm(peer)
      yield* here.write({ peer, from: own.slice(), to: { address: Number(buffer!.addr) } })
      assert.isTrue(inbox.bytes.every((byte) => byte === 7))
      // One of them may have done all of it while the other one was still being opened.
      for (const [path, store] of Context.get(a, Endpoints)) {
        const link = yield* store.open(`${peer}@${path.slice(-1)}`)
        assert.isTrue(link.isOpen)
      }
    })
  )

  it.live("T5: answer a question that came while they were built, once they are", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(script(() => {}))
      const fabric = yield* SimFabric.make()
      const isOpened = Deferred.makeUnsafe<void>()
      const verbs = Layer.effect(
        Verbs,
        Effect.map(Verbs, (provider) => ({
          ...provider,
          open: (name?: string) => Effect.andThen(Deferred.await(isOpened), provider.open(name))
        }))
      ).pipe(Layer.provide(SimVerbs.layer(fabric, { host: "a" })))
      const node = Layer.build(
        TransferNode.layer({ host: "127.0.0.1", peers: ["127.0.0.1"], handshake: { port } }).pipe(
          Layer.provide([verbs, Journal.layerMemory])
        )
      )
      const built = yield* Effect.forkChild(node, { startImmediately: true })
      yield* Effect.eventually(listens(port))
      const question = typed("{}", FrameType.metadata)
      const answer = yield* Effect.forkChild(ask(port, question), { startImmediately: true })
      yield* Effect.sleep("100 millis")
      assert.isUndefined(answer.pollUnsafe())
      Deferred.doneUnsafe(isOpened, Effect.void)
      yield* Fiber.join(built)
      const frame = frameIn(yield* Fiber.join(answer).pipe(Effect.timeout("5 seconds")))!
      assert.strictEqual(success(SegmentDescriptor.decode(frame.text)).name, `127.0.0.1:${port}`)
    })
  )

  it.live("R22: are at the GID that was chosen for a card", () =>
    Effect.gen(function* () {
      const fabric = yield* SimFabric.make()
      const built = yield* Layer.build(
        TransferNode.layer({
          host: "127.0.0.1",
          peers: ["127.0.0.1"],
          nics: [{ device: "x", gidIndex: 2 }],
          handshake: { port: 0 }
        }).pipe(
          Layer.provide([
            SimVerbs.layer(fabric, { host: "a", devices: ["x"], gids: 3 }),
            Journal.layerMemory
          ])
        )
      )
      const [nic] = Context.get(built, Nics)
      const { gids } = yield* nic!.device.port()
      const { nics } = yield* Context.get(built, TransferEngine).description
      assert.deepStrictEqual(
        nics.map(({ gid }) => gid),
        [gids[2]!.gid]
      )
    })
  )
})
