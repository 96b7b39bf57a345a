/**
 * Goal: a device is used and released in order, whatever interrupts it and however it ends, and
 * what it says too late is not heard.
 * Method: the provider on a stand-in for the libraries that runs in this process, counts what is
 * destroyed before what was made on it, and sends events when it is told to.
 */
import { assert, beforeAll, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { afterEach, vi } from "vitest"
import type { IbCompletionQueue } from "../../../src/native/ib/completions.ts"
import { IbQueuePair } from "../../../src/native/ib/queuePair.ts"
import { constants } from "../../../src/native/ib/layout.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import type { Device } from "../../../src/native/verbs/Device.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { peer } from "../../peers.ts"
import { makeStub, stubNeeds } from "./stub.ts"

const access = ["local-write", "remote-write"] as const

const endOn = Effect.fnUntraced(function* (device: Device, port = 1) {
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(64)
  const region = yield* domain.register({ memory: 4096, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access, port })
  const path = { gid: Gid.fromAddress("127.0.0.1")! }
  yield* queuePair.modify({ to: "rtr", path, mtu: 1024, peer: 17 })
  yield* queuePair.modify({ to: "rts" })
  assert.instanceOf(queuePair, IbQueuePair)
  return { device, domain, completions, region, queuePair: queuePair as IbQueuePair }
})

type End = Effect.Success<ReturnType<typeof endOn>>

const send = ({ queuePair, region }: End, change: Partial<SendRequest> = {}) => {
  const request = Object.assign(new SendRequest(), change)
  request.scatterList.add(region, 0, 8)
  return queuePair.post(request)
}

const receive = ({ queuePair, region }: End, id: number) => {
  const request = new ReceiveRequest()
  request.id = id
  request.scatterList.add(region, 0, 8)
  return queuePair.postReceive(request)
}

/** Lets the event loop turn so often. */
const afterTurns = (turns: number) =>
  Effect.promise(async () => {
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
  })

/** The ids and statuses of what is in the queue now. */
const polled = ({ completions }: End) => {
  const batch = new CompletionBatch()
  completions.poll(batch)
  return Array.from({ length: batch.count }, (_, index) => {
    const { id, status } = batch.at(index)
    return [id, status]
  })
}

peer(stubNeeds, "a device of the libraries", () => {
  let stub: Awaited<ReturnType<typeof makeStub>>
  beforeAll(async () => {
    stub = await makeStub()
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    assert.deepStrictEqual([stub.live(), stub.violations()], [0, 0])
  })

  const scene = (name: string, act: (own: End) => Effect.Effect<unknown, unknown, Scope.Scope>) =>
    it.live(name, () =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* act(yield* endOn(yield* stub.provider({ flushWithinMs: 50 }).open()))
        })
      )
    )

  scene("ends posted work, and what was silent with the next one that tells", (own) =>
    Effect.sync(() => {
      assert.deepStrictEqual(send(own, { id: 1, signalled: false }), "accepted")
      assert.deepStrictEqual(polled(own), [])
      assert.strictEqual(own.queuePair.outstandingSends, 1)
      send(own, { id: 2 })
      assert.deepStrictEqual(polled(own), [[2, "success"]])
      assert.strictEqual(own.queuePair.outstandingSends, 0)
    })
  )

  scene("wakes who waits for a completion", (own) =>
    Effect.gen(function* () {
      for (let round = 0; round < 3; round++) {
        const waiting = yield* Effect.forkChild(own.completions.ready, { startImmediately: true })
        send(own, { id: round })
        yield* Fiber.join(waiting)
        assert.deepStrictEqual(polled(own), [[round, "success"]])
      }
    })
  )

  scene("learns by a marker that silent sends behind the last completion have ended", (own) =>
    Effect.gen(function* () {
      for (const id of [1, 2]) send(own, { id, signalled: false })
      receive(own, 3)
      yield* own.queuePair.modify({ to: "err" })
      assert.deepStrictEqual(polled(own), [[3, "flushed"]])
      assert.strictEqual(own.queuePair.outstandingSends, 0)
    })
  )

  scene("ends in memory what a device does not flush, and hears nothing of it later", (own) =>
    Effect.gen(function* () {
      vi.stubEnv("STUB_NO_FLUSH", "1")
      receive(own, 1)
      yield* own.queuePair.modify({ to: "reset" })
      assert.deepStrictEqual(polled(own), [[1, "flushed"]])
      vi.unstubAllEnvs()
      yield* own.queuePair.modify({ to: "init" })
      receive(own, 2)
      // Now the stand-in flushes both receives: the first one is of the queue pair's former life.
      yield* own.queuePair.modify({ to: "err" })
      assert.deepStrictEqual(polled(own), [[2, "flushed"]])
    })
  )

  scene(
    "goes on while it does not flush one queue pair, and ends that one when it is released",
    () =>
      Effect.gen(function* () {
        vi.stubEnv("STUB_NO_FLUSH", "1")
        // The flush is waited for until the test is over.
        const device = yield* stub.provider({ flushWithinMs: 1e9 }).open()
        const scope = yield* Scope.make()
        const dead = yield* Scope.provide(endOn(device), scope)
        receive(dead, 1)
        const flushing = yield* Effect.forkChild(dead.queuePair.modify({ to: "err" }), {
          startImmediately: true
        })
        const own = yield* endOn(device)
        send(own, { id: 2 })
        assert.deepStrictEqual(polled(own), [[2, "success"]])
        assert.deepStrictEqual(polled(dead), [])
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(flushing)
        assert.strictEqual(dead.queuePair.outstandingReceives, 0)
      })
  )

  scene("lends new memory at once, and later under keys that no peer had", ({ domain }) =>
    Effect.gen(function* () {
      const region = yield* domain.register({ memory: 64, access })
      const keys = [region.renewKey()]
      assert.strictEqual(region.remoteKey, keys[0])
      for (let loans = 0; loans < 3; loans++) {
        yield* region.revoke
        keys.push(region.renewKey())
      }
      assert.strictEqual(new Set([0, ...keys]).size, 5)
      assert.deepStrictEqual([region.renewKey(), region.remoteKey], [0, 0])
    })
  )

  scene("that is removed while it flushes ends the work at once", () =>
    Effect.gen(function* () {
      vi.stubEnv("STUB_NO_FLUSH", "1")
      const own = yield* endOn(yield* stub.provider({ flushWithinMs: 1e9 }).open())
      receive(own, 1)
      const flushing = yield* Effect.forkChild(own.queuePair.modify({ to: "err" }), {
        startImmediately: true
      })
      yield* own.domain.register({ memory: 64 })
      stub.event(own.queuePair.device.context, 0, constants.IBV_EVENT_DEVICE_FATAL)
      yield* Fiber.join(flushing)
      assert.deepStrictEqual(polled(own), [[1, "flushed"]])
    })
  )

  scene("posts a marker when the completion queue has a place for it, and not before", () =>
    Effect.gen(function* () {
      const own = yield* endOn(yield* stub.provider({ flushWithinMs: 1e9 }).open())
      const queue = own.completions as IbCompletionQueue
      while (queue.addMarker());
      send(own, { signalled: false })
      const flushing = yield* Effect.forkChild(own.queuePair.modify({ to: "err" }), {
        startImmediately: true
      })
      yield* own.domain.register({ memory: 64 })
      assert.strictEqual(own.queuePair.outstandingSends, 1)
      queue.removeMarker()
      yield* Fiber.join(flushing)
      assert.strictEqual(own.queuePair.outstandingSends, 0)
      assert.deepStrictEqual(polled(own), [])
    })
  )

  scene("takes no completion of a former queue pair of the same number", (own) =>
    Effect.gen(function* () {
      vi.stubEnv("STUB_NO_FLUSH", "1")
      const { completions: sendCompletions, domain, queuePair } = own
      const other = yield* Effect.scoped(domain.queuePair({ sendCompletions }))
      assert.strictEqual(other.number, queuePair.number)
      send(own, { id: 5 })
      assert.deepStrictEqual(polled(own), [[5, "success"]])
    })
  )

  scene("takes an event of a completion queue that is gone", ({ device, domain }) =>
    Effect.gen(function* () {
      for (let round = 0; round < 10; round++) {
        const scope = yield* Scope.make()
        const own = yield* Scope.provide(endOn(device), scope)
        send(own)
        yield* Scope.close(scope, Exit.void)
      }
      yield* Effect.scoped(domain.register({ memory: 64 }))
    })
  )

  scene("of two ports lets a queue pair use either one, with that one's GIDs", ({ device }) =>
    Effect.gen(function* () {
      const own = yield* endOn(device, 2)
      assert.strictEqual(own.queuePair.state, "rts")
      const second = yield* device.port(2)
      assert.deepStrictEqual(
        second.gids.map(({ gid }) => Gid.toAddress(gid)),
        ["127.0.0.2"]
      )
      const wrong = yield* Effect.flip(device.port(3))
      assert.strictEqual(wrong._tag, "InvalidAttribute")
    })
  )

  scene("that fails ends its queue pairs, its listeners and its events", (own) =>
    Effect.gen(function* () {
      const { device, queuePair } = own
      const events = yield* Effect.forkChild(Stream.runCollect(device.events), {
        startImmediately: true
      })
      receive(own, 1)
      const { context } = queuePair.device
      stub.event(context, 1, constants.IBV_EVENT_PORT_ERR)
      stub.event(context, 0, constants.IBV_EVENT_DEVICE_FATAL)
      const told = yield* Fiber.join(events)
      assert.deepStrictEqual(
        told.map(({ _tag }) => _tag),
        ["PortDown", "DeviceRemoved"]
      )
      yield* own.completions.ready
      assert.deepStrictEqual(polled(own), [[1, "flushed"]])
      const error = yield* Effect.flip(device.completionQueue(8))
      assert.strictEqual(error._tag === "Released" && error.reason, "device-removed")
    })
  )

  for (const [what, type] of [
    ["queue pair", constants.IBV_EVENT_QP_FATAL],
    ["completion queue", constants.IBV_EVENT_CQ_ERR]
  ] as const) {
    scene(`that says that a ${what} failed ends the queue pair, and says so`, (own) =>
      Effect.gen(function* () {
        const { device, queuePair } = own
        const event = yield* Effect.forkChild(Stream.runHead(device.events), {
          startImmediately: true
        })
        const queue = own.completions as unknown as { readonly pointer: number }
        const element = what === "queue pair" ? queuePair.pointer : queue.pointer
        stub.event(queuePair.device.context, element, type)
        const told = yield* Fiber.join(event)
        assert.strictEqual(told._tag === "Some" && told.value._tag, "QueuePairFatal")
        assert.strictEqual(queuePair.state, "err")
      })
    )
  }

  it.live("lets nothing be made on what is being closed", () =>
    Effect.gen(function* () {
      for (let turns = 0; turns < 40; turns++) {
        const scope = yield* Scope.make()
        const device = yield* Scope.provide(stub.provider().open(), scope)
        const making = yield* Effect.forkChild(Effect.exit(Effect.scoped(endOn(device))), {
          startImmediately: true
        })
        yield* afterTurns(turns)
        yield* Scope.close(scope, Exit.void)
        const exit = yield* Fiber.join(making)
        if (exit._tag === "Failure") assert.match(String(exit.cause), /Released|gone/)
        assert.deepStrictEqual([stub.live(), stub.violations()], [0, 0], `after ${turns} turns`)
      }
    })
  )

  it.live("is released in order, wherever its making is interrupted", () =>
    Effect.gen(function* () {
      const making = Effect.gen(function* () {
        const device = yield* stub.provider().open()
        const own = yield* endOn(device)
        receive(own, 1)
        send(own)
        yield* own.region.revoke
        yield* device.port()
      }).pipe(Effect.scoped)
      for (let turns = 0; turns < 60; turns++) {
        const fiber = yield* Effect.forkChild(making, { startImmediately: true })
        yield* afterTurns(turns)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([stub.live(), stub.violations()], [0, 0], `after ${turns} turns`)
      }
    })
  )
})
