/** Demands on resources: they are released, in the right order, any number of times. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { failureOf, same } from "../contract.ts"
import { Pair } from "./pair.ts"
import {
  completions,
  connected,
  demand,
  ended,
  end,
  post,
  receive,
  toReceive,
  work
} from "./rig.ts"

export const resources = [
  demand("a device that is closed takes everything on it along", function* () {
    const { active } = yield* Pair
    const [outer, inner] = [yield* Scope.make(), yield* Scope.make()]
    const device = yield* Scope.provide(active.open(), outer)
    const domain = yield* Scope.provide(device.protectionDomain, inner)
    const queue = yield* Scope.provide(device.completionQueue(16), inner)
    const queuePair = yield* Scope.provide(domain.queuePair({ sendCompletions: queue }), inner)
    const region = yield* Scope.provide(domain.register({ memory: 64 }), inner)
    yield* queuePair.modify({ to: "init" })
    const waiting = yield* Effect.forkChild(failureOf(queue.ready), { startImmediately: true })
    const reading = yield* Effect.forkChild(Stream.runCount(queue.completions), {
      startImmediately: true
    })
    yield* Scope.close(outer, Exit.void)
    yield* same(yield* Fiber.join(waiting), "Released", "a waiter for completions")
    yield* same(yield* Fiber.join(reading), 0, "completions of the stream")
    yield* same(queuePair.state, "err", "state")
    yield* same(region.remoteKey, 0, "the region's key")
    yield* same(yield* failureOf(queuePair.modify({ to: "reset" })), "Released", "a step")
    for (const effect of [device.protectionDomain, device.listen(), device.port()]) {
      yield* same(
        yield* failureOf(Effect.scoped<unknown, { readonly _tag: string }, Scope.Scope>(effect)),
        "Released",
        "on a closed device"
      )
    }
    const late = Effect.scoped(domain.register({ memory: 64 }))
    yield* same(yield* failureOf(late), "Released", "register in a closed domain")
    yield* Scope.close(inner, Exit.void)
  }),

  demand("a completion queue that is closed takes its queue pairs along", function* () {
    const { active } = yield* Pair
    const local = yield* end(active)
    const scope = yield* Scope.make()
    const receiveCompletions = yield* Scope.provide(local.device.completionQueue(8), scope)
    const queuePair = yield* local.domain.queuePair({
      sendCompletions: local.completions,
      receiveCompletions
    })
    yield* queuePair.modify({ to: "init" })
    queuePair.postReceive(toReceive(local, 1))
    yield* Scope.close(scope, Exit.void)
    yield* same(queuePair.state, "err", "state")
    yield* same(queuePair.post(work(local, {})), "wrong-state", "a post")
  }),

  demand("sends and receives may end in different queues", function* () {
    const { passive } = yield* Pair
    const other = yield* end(passive)
    const receiveCompletions = yield* other.device.completionQueue(8)
    const { a, b } = yield* connected()
    yield* same(receiveCompletions.reserved, 0, "reserved completions")
    yield* receive(b, 1)
    yield* post(a, work(a, { id: 2, length: 8 }))
    yield* ended(b, { id: 1, kind: "receive" })
    yield* ended(a, { id: 2, kind: "send" })
  }),

  demand("numbers of queue pairs that live at once differ", function* () {
    const { active } = yield* Pair
    const local = yield* end(active)
    const numbers = new Set([local.queuePair.number])
    for (let count = 1; count < 100; count++) {
      const { number } = yield* local.domain.queuePair({ sendCompletions: local.completions })
      numbers.add(number)
    }
    yield* same(numbers.size, 100, "numbers")
    yield* same(
      [...numbers].every((number) => number > 0 && number < 2 ** 24),
      true,
      "24 bits"
    )
  }),

  demand("sizes that no device has are refused", function* () {
    const { active } = yield* Pair
    const { completions: sendCompletions, device, domain } = yield* end(active)
    const { limits } = device.info
    const sizes = [
      { sendDepth: limits.depth + 1 },
      { receiveDepth: limits.depth + 1 },
      { maxScatterEntries: limits.scatterEntries + 1 },
      { maxInlineBytes: limits.inlineBytes + 1 }
    ]
    for (const size of sizes) {
      const failure = yield* failureOf(domain.queuePair({ sendCompletions, ...size }))
      yield* same(failure, "LimitExceeded", JSON.stringify(size))
    }
    const many = device.completionQueue(limits.completions + 1)
    yield* same(yield* failureOf(many), "LimitExceeded", "completions")
    const odd = yield* failureOf(domain.queuePair({ sendCompletions, sendDepth: -1 }))
    yield* same(odd, "InvalidAttribute", "a negative size")
    const huge = yield* failureOf(domain.register({ memory: Number.MAX_SAFE_INTEGER }))
    yield* same(huge, "LimitExceeded", "more memory than a region has")
  }),

  demand("resources of one device cannot be used on another", function* () {
    const { a, b } = yield* connected()
    const { completions: sendCompletions } = b
    const foreign = a.domain.queuePair({ sendCompletions })
    yield* same(yield* failureOf(foreign), "InvalidAttribute", "its completion queue")
    yield* post(a, work({ ...a, region: b.region }, { id: 1, length: 8 }))
    yield* ended(a, { id: 1, status: "local-protection" }, "its memory")
  }),

  demand("a missing device is named", function* () {
    const { active } = yield* Pair
    const error = yield* Effect.flip(active.open("no such device"))
    yield* same(error._tag, "DeviceNotFound", "error")
    const names = (yield* active.devices).map(({ name }) => name)
    yield* same(error._tag === "DeviceNotFound" && error.available, names, "devices")
  }),

  demand("resources are created and released a hundred times", function* () {
    const { a, b } = yield* connected({ capacity: 64 })
    for (let round = 0; round < 100; round++) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { completions: sendCompletions } = a
          const queuePair = yield* a.domain.queuePair({ sendCompletions, receiveDepth: 60 })
          yield* queuePair.modify({ to: "init" })
          yield* a.domain.register({ memory: 1 << 20 })
          for (let id = 0; id < 60; id++) queuePair.postReceive(toReceive(a, id))
        })
      )
      yield* completions(a, 60)
    }
    yield* same(a.completions.reserved, 0, "reserved completions")
    yield* receive(b, 1)
    yield* post(a, work(a, { id: 2, length: 8 }))
    yield* ended(b, { id: 1, status: "success" })
  })
]
