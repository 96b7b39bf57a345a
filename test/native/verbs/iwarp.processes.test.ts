/**
 * Goal: a process whose event loop is blocked is still written to, read from and counted in by its
 * peer; one that is killed ends all that was posted to it, once, and nothing is left of it here.
 * Method: a second process holds the other end; it blocks for two seconds, or is killed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { type Opcode, ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as Child from "../../child.ts"
import { Loopback } from "./targets.ts"

const blockMillis = 2_000

const spawn = Child.spawn(new URL("../../fixtures/verbsPeer.ts", import.meta.url))

const paired = Effect.gen(function* () {
  const { device } = yield* Loopback
  const child = yield* spawn
  const { port } = yield* Child.next<{ readonly port: number }>(child)
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(256)
  const region = yield* domain.register({ memory: 1 << 20 })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init" })
  const receive = new ReceiveRequest()
  receive.scatterList.add(region, 0, 64)
  for (let id = 0; id < 10; id++) queuePair.postReceive(Object.assign(receive, { id: 100 + id }))
  const to = { host: "127.0.0.1", port }
  const connection = yield* device.connect({ to, queuePair })
  const said = connection.privateData
  const view = new DataView(said.buffer, said.byteOffset)
  const remote = { key: view.getUint32(0), address: view.getFloat64(4) }
  const post = (id: number, opcode: Opcode, at: number, length: number) => {
    const work = Object.assign(new SendRequest(), { id, opcode, value: 5n })
    work.scatterList.add(region, at, length)
    return queuePair.post(work.remote(remote.key, remote.address + at))
  }
  const batch = new CompletionBatch(1)
  const ended = Effect.gen(function* () {
    yield* completions.ready
    completions.poll(batch)
    return batch.at(0)
  })
  return { child, completions, connection, ended, post, queuePair, region }
})

const onWorker = Effect.provide(Loopback.layer({ on: "worker", pool: { workers: 1 } }))

describe("a peer in another process", () => {
  it.live(
    "is written to and read from while its event loop is blocked",
    () =>
      Effect.gen(function* () {
        const { child, ended, post, region } = yield* paired
        child.send({ block: blockMillis })
        const { blocked } = yield* Child.next<{ readonly blocked: number }>(child)
        region.bytes.fill(7, 0, 100_000)
        const awake = yield* Effect.forkChild(Child.next<{ awake: number; first: number }>(child), {
          startImmediately: true
        })
        for (let round = 0; round < 20; round++) {
          post(round, "write", 0, 100_000)
          assert.strictEqual((yield* ended).status, "success")
          region.bytes.fill(0, 0, 100_000)
          post(round, "read", 0, 100_000)
          assert.strictEqual((yield* ended).status, "success")
          assert.isTrue(region.bytes.subarray(0, 100_000).every((byte) => byte === 7))
          post(round, "fetch-add", 200_000, 8)
          assert.strictEqual((yield* ended).status, "success")
          const found = new BigUint64Array(region.memory, 200_000, 1)[0]
          assert.strictEqual(found, BigInt(round * 5))
        }
        const done = Date.now()
        const woken = yield* Fiber.join(awake)
        assert.isBelow(done - blocked, blockMillis - 500, "all of it while the peer was blocked")
        assert.isAtLeast(woken.awake, done)
        assert.strictEqual(woken.first, 7)
      }).pipe(Effect.scoped, onWorker),
    20_000
  )

  it.live(
    "that is killed ends all posted work once",
    () =>
      Effect.gen(function* () {
        const { child, completions, connection, post, queuePair } = yield* paired
        let posted = 0
        for (let id = 0; id < 100; id++) {
          if (post(id, id % 2 === 0 ? "write" : "read", 0, 500_000) === "accepted") posted += 1
        }
        child.kill("SIGKILL")
        yield* connection.disconnected
        assert.strictEqual(queuePair.state, "err")
        const batch = new CompletionBatch(256)
        completions.poll(batch)
        const ids = Array.from({ length: batch.count }, (_, index) => batch.at(index).id)
        assert.strictEqual(new Set(ids).size, ids.length, "ends that are told once")
        assert.strictEqual(ids.length, posted + 10)
        assert.strictEqual(completions.reserved, 0)
        assert.strictEqual(queuePair.outstandingSends + queuePair.outstandingReceives, 0)
      }).pipe(Effect.scoped, onWorker),
    20_000
  )
})
