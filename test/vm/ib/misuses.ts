/**
 * Misuses of a provider on a real driver. Each must be refused, or end as the contract says, and
 * afterwards a message must still arrive. A crash ends this program by a signal.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import * as Gid from "../../../src/schema/Gid.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import {
  end,
  type End,
  endOn,
  nextStatus,
  pair,
  receiving,
  sending,
  toReady,
  works
} from "./ends.ts"
import { type Named, report } from "./report.ts"

type Test = Effect.Effect<unknown, unknown, Verbs | Scope.Scope>

const tagOf = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.match(effect, { onFailure: ({ _tag }) => _tag, onSuccess: () => "nothing" })

const equal = (found: unknown, expected: unknown) =>
  Effect.sync(() => assert.deepEqual(found, expected))

/** Makes something in a Scope that is closed before it is used. */
const released = <A, E, R>(make: Effect.Effect<A, E, R | Scope.Scope>) => Effect.scoped(make)

const afterRelease: ReadonlyArray<readonly [string, Test]> = [
  [
    "a post to a queue pair that is released",
    Effect.gen(function* () {
      const own = yield* end
      const { completions: sendCompletions, domain } = own
      const queuePair = yield* released(domain.queuePair({ sendCompletions }))
      yield* equal(queuePair.post(sending(own)), "wrong-state")
      yield* equal(queuePair.postReceive(receiving(own)), "wrong-state")
      yield* equal(yield* tagOf(queuePair.modify({ to: "init" })), "Released")
      yield* equal(yield* tagOf(queuePair.modify({ to: "reset" })), "Released")
    })
  ],
  [
    "a poll of a completion queue that is released",
    Effect.gen(function* () {
      const { device } = yield* end
      const queue = yield* released(device.completionQueue(8))
      yield* equal(queue.poll(new CompletionBatch()), 0)
      yield* equal(yield* tagOf(queue.ready), "Released")
      yield* equal(yield* Stream.runCount(queue.completions), 0)
    })
  ],
  [
    "a queue pair on a completion queue that is released",
    Effect.gen(function* () {
      const { device, domain } = yield* end
      const sendCompletions = yield* released(device.completionQueue(8))
      yield* equal(yield* tagOf(domain.queuePair({ sendCompletions })), "Released")
    })
  ],
  [
    "everything on a domain that is released",
    Effect.gen(function* () {
      const { completions: sendCompletions, device } = yield* end
      const domain = yield* released(device.protectionDomain)
      yield* equal(yield* tagOf(domain.register({ memory: 64 })), "Released")
      yield* equal(yield* tagOf(domain.queuePair({ sendCompletions })), "Released")
    })
  ],
  [
    "everything on a device that is closed",
    Effect.gen(function* () {
      const own = yield* released(end)
      const { device, domain, queuePair, region } = own
      yield* equal(yield* tagOf(device.port()), "Released")
      yield* equal(yield* tagOf(device.protectionDomain), "Released")
      yield* equal(yield* tagOf(device.completionQueue(8)), "Released")
      yield* equal(yield* tagOf(device.listen()), "Released")
      yield* equal(yield* tagOf(domain.register({ memory: 64 })), "Released")
      const to = { host: "10.9.0.1", port: 1 }
      yield* equal(yield* tagOf(device.connect({ to, queuePair })), "Released")
      yield* equal(queuePair.post(sending(own)), "wrong-state")
      yield* equal(region.renewKey(), 0)
      yield* region.revoke
      yield* equal(region.remoteKey, 0)
      region.bytes.fill(1)
    })
  ],
  [
    "a key of a region that is released",
    Effect.gen(function* () {
      const { domain } = yield* end
      const region = yield* released(domain.register({ memory: 64, access: ["remote-read"] }))
      yield* equal([region.renewKey(), region.remoteKey], [0, 0])
      yield* region.revoke
    })
  ],
  [
    "a listener that is released, and a request of it",
    Effect.gen(function* () {
      const { device } = yield* end
      const listener = yield* released(device.listen())
      yield* equal(yield* tagOf(listener.take), "Released")
    })
  ]
]

/** Sends what no device can send; the queue pair fails, and others go on. */
const failsWith = (
  expected: string,
  make: (own: End) => Effect.Effect<SendRequest, unknown, Scope.Scope>
): Test =>
  Effect.gen(function* () {
    const { a } = yield* pair
    yield* equal(a.queuePair.post(yield* make(a)), "accepted")
    yield* equal(yield* nextStatus(a), expected)
  })

const memory = (fill: (request: SendRequest, own: End) => void, inline = false) =>
  failsWith("local-protection", (own) =>
    Effect.sync(() => {
      const request = Object.assign(new SendRequest(), { inline })
      fill(request, own)
      return request
    })
  )

const wrongMemory: ReadonlyArray<readonly [string, Test]> = [
  [
    "a send from behind its region",
    memory(({ scatterList }, { region }) => {
      scatterList.add(region, 4096, 8)
    })
  ],
  [
    "a send from before its region",
    memory(({ scatterList }, { region }) => {
      scatterList.add(region, -8, 8)
    })
  ],
  [
    "a send of more than its region",
    memory(({ scatterList }, { region }) => {
      scatterList.add(region, 0, 4097)
    })
  ],
  [
    "an inline send from behind its region",
    memory(({ scatterList }, { region }) => {
      scatterList.add(region, 2 ** 40, 8)
    }, true)
  ],
  [
    "an inline send from before its region",
    memory(({ scatterList }, { region }) => {
      scatterList.add(region, -(2 ** 30), 8)
    }, true)
  ],
  [
    "an inline send from a region that is released",
    failsWith("local-protection", ({ domain }) =>
      Effect.map(released(domain.register({ memory: 64 })), (region) => {
        const request = Object.assign(new SendRequest(), { inline: true })
        request.scatterList.add(region, 0, 8)
        return request
      })
    )
  ],
  [
    "a send from a region that is released",
    failsWith("local-protection", ({ domain }) =>
      Effect.map(released(domain.register({ memory: 1 << 20 })), (region) => {
        const request = new SendRequest()
        request.scatterList.add(region)
        return request
      })
    )
  ],
  [
    "a receive into a region that is released",
    Effect.gen(function* () {
      const { a, b } = yield* pair
      const region = yield* released(b.domain.register({ memory: 64 }))
      const request = new ReceiveRequest()
      request.scatterList.add(region)
      yield* equal(b.queuePair.postReceive(request), "accepted")
      yield* equal(a.queuePair.post(sending(a)), "accepted")
      yield* equal(yield* nextStatus(b), "local-protection")
    })
  ],
  [
    "an entry without a region",
    memory(({ scatterList }, { region }) => {
      scatterList.add(region, 0, 8)
      scatterList.at(0).region = undefined
    }, true)
  ],
  [
    "a scatter list whose number of entries is changed",
    Effect.gen(function* () {
      const { a } = yield* pair
      for (const count of [-1, 3, Number.NaN]) {
        const request = sending(a, { inline: true })
        assert.throws(() => Object.assign(request.scatterList, { count }), TypeError)
        yield* equal(a.queuePair.post(request), "accepted")
      }
    })
  ],
  [
    "lengths that are no lengths",
    Effect.gen(function* () {
      const { a } = yield* pair
      for (const length of [Number.NaN, -8, 2 ** 40, Infinity, 0.5]) {
        const request = sending(a, { inline: true }, 0, length)
        const posted = a.queuePair.post(request)
        assert.ok(posted === "too-long" || posted === "accepted", posted)
      }
    })
  ],
  [
    "numbers that are no numbers in a request",
    Effect.gen(function* () {
      const { a } = yield* pair
      const change = { opcode: "write", remoteKey: -1, remoteHigh: Number.NaN, remoteLow: 2 ** 60 }
      const request = sending(a, { ...(change as Partial<SendRequest>), id: Number.NaN })
      yield* equal(a.queuePair.post(request), "accepted")
      yield* equal(yield* nextStatus(a), "remote-access")
    })
  ],
  [
    "an atomic operation on half a word",
    Effect.gen(function* () {
      const { a, b } = yield* pair
      const add = sending(a, { opcode: "fetch-add", value: -(2n ** 70n) }, 0, 4)
      a.queuePair.post(add.remote(b.region.remoteKey, b.region.address + 3))
      assert.notEqual(yield* nextStatus(a), "success")
    })
  ],
  [
    "memory that grows after it was registered",
    Effect.gen(function* () {
      const { a, b } = yield* pair
      const growing = new SharedArrayBuffer(64, { maxByteLength: 1 << 20 })
      const region = yield* a.domain.register({ memory: growing })
      growing.grow(1 << 20)
      const request = new SendRequest()
      request.scatterList.add(region, 0, 64)
      b.queuePair.postReceive(receiving(b))
      yield* equal(a.queuePair.post(request), "accepted")
      yield* equal(yield* nextStatus(a), "success")
    })
  ],
  [
    "memory that the program forgets while its region lives",
    Effect.gen(function* () {
      const { a, b } = yield* pair
      const target = yield* Effect.map(
        b.domain.register({ memory: 1 << 20, access: ["local-write", "remote-write"] }),
        ({ address, remoteKey }) => ({ address, remoteKey })
      )
      for (let round = 0; round < 20; round++) {
        globalThis.gc?.()
        const write = sending(a, { opcode: "write" }, 0, 4096)
        a.queuePair.post(write.remote(target.remoteKey, target.address + 4096 * round))
        yield* equal(yield* nextStatus(a), "success")
      }
    })
  ]
]

const wrongWays: ReadonlyArray<readonly [string, Test]> = [
  [
    "a step to a GID that is not there",
    Effect.gen(function* () {
      const { device, queuePair } = yield* end
      const { gids } = yield* device.port()
      const path = { gid: gids[0]!.gid, gidIndex: 200 }
      const step = queuePair.modify({ to: "rtr", path, mtu: 1024, peer: 5 })
      yield* equal(yield* tagOf(step), "InvalidAttribute")
    })
  ],
  [
    "a step on a port that is not there",
    Effect.gen(function* () {
      const { queuePair } = yield* end
      yield* equal(yield* tagOf(queuePair.modify({ to: "init", port: 9 })), "InvalidAttribute")
    })
  ],
  [
    "a step that the device refuses",
    Effect.gen(function* () {
      const { queuePair } = yield* end
      // The packets of its interface are shorter.
      const path = { gid: Gid.fromAddress("10.9.0.1")! }
      const step = queuePair.modify({ to: "rtr", path, mtu: 4096, peer: 5 })
      yield* equal(yield* tagOf(step), "ModifyFailed")
      yield* equal(queuePair.state, "err")
    })
  ],
  [
    "steps at the same time",
    Effect.gen(function* () {
      const { a, b } = { a: yield* end, b: yield* end }
      const ways = [toReady(a, b), a.queuePair.modify({ to: "err" }), toReady(a, b)]
      yield* Effect.all(ways.map(tagOf), { concurrency: "unbounded" })
      yield* a.queuePair.modify({ to: "reset" })
      yield* equal(a.queuePair.state, "reset")
    })
  ],
  [
    "a request that is answered twice, and with a queue pair of another device",
    Effect.gen(function* () {
      const [a, b] = [yield* end, yield* end]
      const listener = yield* b.device.listen()
      const { queuePair } = a
      const asking = yield* Effect.forkChild(a.device.connect({ to: listener.address, queuePair }))
      const request = yield* listener.take
      yield* equal(yield* tagOf(request.accept({ queuePair })), "InvalidAttribute")
      yield* request.accept({ queuePair: b.queuePair })
      yield* request.reject()
      yield* Fiber.join(asking)
      yield* works(a, b)
    })
  ],
  [
    "a caller that the device does not admit",
    Effect.gen(function* () {
      const provider = yield* Verbs
      const asked: Array<string> = []
      const admits = (address: string) => {
        asked.push(address)
        return asked.length > 1
      }
      const [a, b] = [yield* end, yield* endOn(yield* provider.open("rxe0", { admits }))]
      const listener = yield* b.device.listen()
      const connect = a.device.connect({ to: listener.address, queuePair: a.queuePair })
      yield* equal(yield* tagOf(connect), "ConnectRejected")
      const taking = yield* Effect.forkChild(
        Effect.flatMap(listener.take, (request) => request.accept({ queuePair: b.queuePair }))
      )
      const again = yield* endOn(a.device)
      yield* again.device.connect({ to: listener.address, queuePair: again.queuePair })
      yield* Fiber.join(taking)
      yield* works(again, b)
      // Both callers come from the address of the device that they call.
      const { host } = listener.address
      yield* equal(asked, [host, host])
    })
  ],
  [
    "a batch of no completions",
    Effect.gen(function* () {
      const { completions } = yield* end
      yield* equal(completions.poll(new CompletionBatch(0)), 0)
    })
  ],
  [
    "a child process while regions are registered",
    Effect.gen(function* () {
      const { a, b } = yield* pair
      b.queuePair.postReceive(receiving(b))
      execFileSync("true")
      yield* equal(a.queuePair.post(sending(a)), "accepted")
      yield* equal([yield* nextStatus(a), yield* nextStatus(b)], ["success", "success"])
    })
  ],
  [
    "two fibers that wait for one completion",
    Effect.gen(function* () {
      const { a, b } = yield* pair
      const waiting = yield* Effect.forkChild(
        Effect.all([b.completions.ready, b.completions.ready], { concurrency: 2 }),
        { startImmediately: true }
      )
      b.queuePair.postReceive(receiving(b))
      a.queuePair.post(sending(a))
      yield* Fiber.join(waiting)
    })
  ]
]

const busy = ({ a, b }: { readonly a: End; readonly b: End }): void => {
  for (let count = 0; count < 16; count++) {
    b.queuePair.postReceive(receiving(b))
    a.queuePair.post(sending(a))
  }
}

/** Releases something while work is under way on it. */
const releasedWhileBusy: ReadonlyArray<readonly [string, Test]> = (
  ["device", "completion queue", "queue pair", "region", "domain"] as const
).map((what) => [
  `a ${what} that is released while its work is under way`,
  Effect.gen(function* () {
    const both = yield* pair
    const { device } = both
    const scope = yield* Scope.make()
    const make = Effect.gen(function* () {
      const own = what === "device" ? yield* (yield* Verbs).open() : device
      const [a, b] = [yield* endOn(own), yield* endOn(own)]
      yield* toReady(a, b)
      yield* toReady(b, a)
      return { a, b }
    })
    const inner = yield* Scope.provide(make, scope)
    busy(inner)
    busy(both)
    yield* Scope.close(scope, Exit.void)
    yield* equal(inner.a.queuePair.state, "err")
    for (const own of [inner.a, inner.b]) {
      const batch = new CompletionBatch(64)
      while (own.completions.poll(batch) > 0);
      yield* equal(own.queuePair.outstandingSends + own.queuePair.outstandingReceives, 0)
    }
  })
])

/** Interrupts what is made after so many turns of the scheduler, wherever that is. */
const interrupted = (name: string, make: Test): ReadonlyArray<readonly [string, Test]> =>
  [0, 1, 3].map((millis) => [
    `${name} that is interrupted after ${millis} ms`,
    Effect.gen(function* () {
      for (let round = 0; round < 3; round++) {
        const fiber = yield* Effect.forkChild(Effect.scoped(make), { startImmediately: true })
        if (millis > 0) yield* Effect.sleep(millis * (round + 1))
        yield* Fiber.interrupt(fiber)
      }
    })
  ])

const interruptions = [
  ...interrupted("an opening", end),
  ...interrupted("a pair of queue pairs", pair),
  ...interrupted(
    "a connection",
    Effect.gen(function* () {
      const [a, b] = [yield* end, yield* end]
      const listener = yield* b.device.listen()
      const { queuePair } = a
      yield* Effect.forkChild(
        Effect.flatMap(listener.take, (request) => request.accept({ queuePair: b.queuePair }))
      )
      yield* a.device.connect({ to: listener.address, queuePair })
      return yield* Effect.never
    })
  ),
  ...interrupted(
    "a region",
    Effect.gen(function* () {
      const { domain } = yield* end
      yield* domain.register({ memory: 1 << 22, access: ["local-write", "remote-write"] })
      return yield* Effect.never
    })
  )
]

const stillWorks = Effect.gen(function* () {
  const { a, b } = yield* pair
  yield* works(a, b)
})

const all = [...afterRelease, ...wrongMemory, ...wrongWays, ...releasedWhileBusy, ...interruptions]

const tests: ReadonlyArray<Named<Verbs>> = all.map(([name, test]) => ({
  name,
  test: Effect.andThen(Effect.scoped(test), Effect.scoped(stillWorks))
}))

await Effect.runPromise(Effect.provide(report(tests), IbVerbs.layer()))
