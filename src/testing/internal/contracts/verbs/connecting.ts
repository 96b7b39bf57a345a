/** Demands on connection management: the beginning of connections. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { ConnectRejected } from "../../../../native/verbs/VerbsError.ts"
import { failureOf, same } from "../contract.ts"
import {
  apart,
  connect,
  connected,
  demand,
  ended,
  failed,
  holds,
  hostOf,
  pattern,
  post,
  receive,
  toReady,
  work
} from "./rig.ts"

export const connecting = [
  demand("both sides get the other's private data and limits", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen({ backlog: 4 })
    const accepting = yield* listener.take.pipe(
      Effect.tap((request) => same([...request.privateData], [...pattern(56)], "the request")),
      Effect.flatMap((request) =>
        request.accept({ queuePair: b.queuePair, privateData: pattern(196, 2), inboundReads: 3 })
      ),
      Effect.forkChild({ startImmediately: true })
    )
    const ab = yield* a.device.connect({
      to: listener.address,
      queuePair: a.queuePair,
      privateData: pattern(56),
      inboundReads: 5,
      outboundReads: 4
    })
    const ba = yield* Fiber.join(accepting)
    yield* same([...ab.privateData], [...pattern(196, 2)], "the reply")
    yield* same([ab.outboundReads, ba.inboundReads], [3, 3], "reads of the active side")
    yield* same([ab.inboundReads, ba.outboundReads], [5, 5], "reads of the passive side")
    yield* same([a.queuePair.state, b.queuePair.state], ["rts", "rts"], "states")
  }),

  demand("both sides are ready when connecting returns: the first may send", function* () {
    for (const first of ["active", "passive"]) {
      const { a, b } = yield* apart({})
      for (const local of [a, b]) yield* receive(local, 1, 0, 64)
      const listener = yield* b.device.listen()
      const [from, to] = first === "active" ? [a, b] : [b, a]
      from.region.bytes.set(pattern(32), 4096)
      const send = post(from, work(from, { id: 2, length: 32, at: 4096 }))
      const accepting = yield* listener.take.pipe(
        Effect.flatMap((request) => request.accept({ queuePair: b.queuePair, rnrRetries: 0 })),
        Effect.tap(() => (first === "passive" ? send : Effect.void)),
        Effect.forkChild({ startImmediately: true })
      )
      yield* a.device.connect({ to: listener.address, queuePair: a.queuePair, rnrRetries: 0 })
      if (first === "active") yield* send
      yield* ended(to, { id: 1, status: "success", length: 32 })
      yield* holds(to.region, 0, pattern(32), "bytes")
      yield* Fiber.join(accepting)
    }
  }),

  demand("a connection out of band carries messages and writes both ways", function* () {
    const { a, b } = yield* apart({})
    for (const local of [a, b]) yield* receive(local, 1)
    yield* Effect.all([toReady(a, b), toReady(b, a)], { concurrency: "unbounded" })
    for (const [local, other] of [
      [a, b],
      [b, a]
    ] as const) {
      local.region.bytes.set(pattern(100, 3), 2048)
      const write = work(local, { id: 2, opcode: "write", length: 100, at: 2048, signalled: false })
      yield* post(local, write.remote(other.region.remoteKey, other.region.address + 8192))
      yield* post(local, work(local, { id: 3, length: 100, at: 2048 }))
      yield* ended(other, { id: 1, status: "success", length: 100 })
      yield* ended(local, { id: 3, status: "success" })
      yield* holds(other.region, 0, pattern(100, 3), "bytes sent")
      yield* holds(other.region, 8192, pattern(100, 3), "bytes written")
    }
  }),

  demand("several connections at once do not mix", function* () {
    const pairs = yield* Effect.all(
      Array.from({ length: 8 }, () => connected()),
      { concurrency: "unbounded" }
    )
    for (const [index, { a, b }] of pairs.entries()) {
      a.region.bytes.fill(index + 1)
      yield* receive(b, index)
      yield* post(a, work(a, { id: index, length: 64 }))
    }
    for (const [index, { b }] of pairs.entries()) {
      yield* ended(b, { id: index, status: "success" })
      yield* holds(b.region, 0, new Uint8Array(64).fill(index + 1), "bytes")
    }
  }),

  demand("a rejection comes with its private data", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen()
    yield* Effect.forkChild(
      Effect.flatMap(listener.take, (request) => request.reject(pattern(148)))
    )
    const to = listener.address
    const error = yield* Effect.flip(a.device.connect({ to, queuePair: a.queuePair }))
    const said = error instanceof ConnectRejected ? [error.reason, ...error.privateData] : [error]
    yield* same(said, ["rejected", ...pattern(148)], "the rejection")
    yield* same(b.queuePair.state, "init", "state of the queue pair that was not used")
  }),

  demand("without a listener no connection is accepted", function* () {
    const { a, b } = yield* apart({})
    const { address: to } = yield* Effect.scoped(b.device.listen())
    const error = yield* Effect.flip(a.device.connect({ to, queuePair: a.queuePair }))
    yield* same(error instanceof ConnectRejected && error.reason, "no-listener", error._tag)
  }),

  demand("more requests than a listener lets wait are rejected", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen({ backlog: 2 })
    const { completions: sendCompletions } = a
    const asking = Effect.gen(function* () {
      const queuePair = yield* a.domain.queuePair({ sendCompletions })
      yield* queuePair.modify({ to: "init" })
      return yield* a.device.connect({ to: listener.address, queuePair })
    })
    const asks = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(failureOf(asking)))
    yield* Effect.raceAll(
      asks.map((ask) => Effect.flatMap(Fiber.join(ask), (tag) => same(tag, "ConnectRejected", "")))
    )
    yield* Fiber.interruptAll(asks)
  }),

  demand("an address has one listener, until it is released", function* () {
    const { b } = yield* apart({})
    const address = yield* Effect.scoped(
      Effect.gen(function* () {
        const { address } = yield* b.device.listen({ host: hostOf(b) })
        const { port } = address
        yield* same(yield* failureOf(b.device.listen({ port })), "AddressInUse", "a second one")
        return address
      })
    )
    const again = yield* b.device.listen({ port: address.port })
    yield* same(again.address, address, "address")
  }),

  demand("a request is answered once", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen()
    const asking = yield* Effect.forkChild(
      a.device.connect({ to: listener.address, queuePair: a.queuePair })
    )
    const request = yield* listener.take
    const other = yield* b.domain.queuePair({ sendCompletions: b.completions })
    yield* other.modify({ to: "init" })
    yield* request.accept({ queuePair: b.queuePair })
    yield* same(yield* failureOf(request.accept({ queuePair: other })), "Unreachable", "again")
    yield* request.reject()
    yield* Fiber.join(asking)
    yield* same(a.queuePair.state, "rts", "state")
  }),

  demand(
    "a queue pair connects from init only, with little private data and few reads",
    function* () {
      const { a, b } = yield* apart({})
      const { address: to } = yield* b.device.listen()
      const fresh = yield* a.domain.queuePair({ sendCompletions: a.completions })
      const early = failureOf(a.device.connect({ to, queuePair: fresh }))
      yield* same(yield* early, "IllegalTransition", "connect in reset")
      const long = { to, queuePair: a.queuePair, privateData: new Uint8Array(2000) }
      yield* same(yield* failureOf(a.device.connect(long)), "LimitExceeded", "private data")
      const many = a.device.info.limits.reads + 1
      for (const reads of [{ inboundReads: many }, { outboundReads: many }]) {
        const asked = a.device.connect({ to, queuePair: a.queuePair, ...reads })
        yield* same(yield* failureOf(asked), "LimitExceeded", JSON.stringify(reads))
      }
      yield* same(a.queuePair.state, "init", "state")
    }
  ),

  demand("a connect that is given up leaves nothing half connected", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen()
    const asking = yield* Effect.forkChild(
      Effect.scoped(a.device.connect({ to: listener.address, queuePair: a.queuePair })),
      { startImmediately: true }
    )
    const request = yield* listener.take
    yield* Fiber.interrupt(asking)
    const accepted = yield* Effect.exit(request.accept({ queuePair: b.queuePair }))
    if (accepted._tag === "Success") yield* accepted.value.disconnected
    yield* failed(b)
  }),

  demand("a request may be accepted after an accept that failed", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen()
    const { address: to } = listener
    const asking = yield* Effect.forkChild(a.device.connect({ to, queuePair: a.queuePair }))
    const request = yield* listener.take
    const long = { queuePair: b.queuePair, privateData: new Uint8Array(2000) }
    yield* same(yield* failureOf(request.accept(long)), "LimitExceeded", "private data")
    const stranger = { queuePair: a.queuePair }
    yield* same(yield* failureOf(request.accept(stranger)), "InvalidAttribute", "a stranger")
    yield* request.accept({ queuePair: b.queuePair })
    yield* Fiber.join(asking)
    yield* same(a.queuePair.state, "rts", "state")
  }),

  demand("a request without an answer is rejected when its listener goes", function* () {
    const { a, b } = yield* apart({})
    const scope = yield* Scope.make()
    const listener = yield* Scope.provide(b.device.listen(), scope)
    const { address: to } = listener
    const asking = yield* Effect.forkChild(failureOf(a.device.connect({ to, ...a })))
    yield* listener.take
    yield* Scope.close(scope, Exit.void)
    yield* same(yield* Fiber.join(asking), "ConnectRejected", "the answer")
  }),

  demand("while it is being connected, a queue pair only goes to its end", function* () {
    const { a, b } = yield* apart({})
    const listener = yield* b.device.listen()
    const options = { to: listener.address, queuePair: a.queuePair }
    const asking = yield* Effect.forkChild(failureOf(a.device.connect(options)))
    yield* listener.take
    yield* same(yield* failureOf(a.device.connect(options)), "IllegalTransition", "again")
    const back = a.queuePair.modify({ to: "init" })
    yield* same(yield* failureOf(back), "IllegalTransition", "a step")
    yield* a.queuePair.modify({ to: "err" })
    yield* same(yield* Fiber.join(asking), "Unreachable", "the attempt")
  }),

  demand("invalid addresses and limits are refused", function* () {
    const { a, b } = yield* apart({})
    for (const options of [{ host: "203.0.113.1" }, { port: 65_536 }, { backlog: 0 }]) {
      const failure = yield* failureOf(b.device.listen(options))
      yield* same(failure, "InvalidAttribute", JSON.stringify(options))
    }
    const { address: to } = yield* b.device.listen()
    const { queuePair } = a
    for (const terms of [{ rnrRetries: 8 }, { retries: -1 }, { inboundReads: 0.5 }]) {
      const failure = yield* failureOf(a.device.connect({ to, queuePair, ...terms }))
      yield* same(failure, "InvalidAttribute", JSON.stringify(terms))
    }
    for (const wrong of [
      { ...to, port: 65_536 },
      { ...to, host: "nowhere" }
    ]) {
      const failure = yield* failureOf(a.device.connect({ to: wrong, queuePair }))
      yield* same(failure, "Unreachable", JSON.stringify(wrong))
    }
    yield* same(queuePair.state, "init", "state")
  }),

  demand("one queue pair after the other connects to the same listener", function* () {
    for (let round = 0; round < 5; round++) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { a, b } = yield* apart({})
          yield* receive(b, round)
          yield* connect(a, b)
          yield* post(a, work(a, { id: round, length: 8 }))
          yield* ended(b, { id: round, status: "success" })
        })
      )
    }
  })
]
