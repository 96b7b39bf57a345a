/**
 * A device that is removed while it works, and comes back: all work ends, and the driver, which
 * waits for its users, is let go of.
 */
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { endOn, pair, receiving, sending, works } from "./ends.ts"
import { type Named, report } from "./report.ts"
import { until } from "./until.ts"

const rdma = (...args: ReadonlyArray<string>) =>
  Effect.callback<void>((resume) => {
    execFile("rdma", [...args], (error) => resume(error === null ? Effect.void : Effect.die(error)))
  })

/** Returns when all programs have let go of the device: until then the driver waits. */
const remove = rdma("link", "delete", "rxe0")
const comeBack = rdma("link", "add", "rxe0", "type", "rxe", "netdev", "rdma0")

const tagOf = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.match(effect, { onFailure: ({ _tag }) => _tag, onSuccess: () => "nothing" })

const removed = Effect.gen(function* () {
  const scope = yield* Scope.make()
  const inScope = Scope.provide(scope)
  const { a, b, device } = yield* inScope(pair)
  const [c, d] = [yield* inScope(endOn(device)), yield* inScope(endOn(device))]
  const listener = yield* inScope(device.listen())
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((request) => inScope(request.accept({ queuePair: d.queuePair }))),
    Effect.forkChild({ startImmediately: true })
  )
  const { queuePair } = c
  const connection = yield* inScope(device.connect({ to: listener.address, queuePair }))
  const accepted = yield* Fiber.join(accepting)
  yield* works(c, d)
  const waiting = yield* Effect.forkChild(tagOf(listener.take), { startImmediately: true })
  const tags: Array<string> = []
  const events = yield* device.events.pipe(
    Stream.runForEach(({ _tag }) => Effect.sync(() => tags.push(_tag))),
    Effect.forkChild({ startImmediately: true })
  )
  b.queuePair.postReceive(receiving(b))
  for (let count = 0; count < 4; count++) {
    a.queuePair.post(sending(a, { opcode: "write" }).remote(b.region.remoteKey, b.region.address))
  }
  const removing = yield* Effect.forkChild(remove, { startImmediately: true })
  yield* Fiber.join(events)
  assert.equal(tags.at(-1), "DeviceRemoved")
  assert.equal(yield* Fiber.join(waiting), "Released")
  assert.deepEqual(yield* Effect.all([connection.disconnected, accepted.disconnected]), [
    "device-removed",
    "device-removed"
  ])
  const isOver = () => b.queuePair.outstandingReceives + a.queuePair.outstandingSends === 0
  yield* until("all work has ended", Effect.sync(isOver))
  assert.equal(yield* tagOf(device.port()), "Released")
  assert.equal(yield* tagOf(device.protectionDomain), "Released")
  yield* Scope.close(scope, Exit.void)
  yield* Fiber.join(removing)
  const devices = yield* (yield* Verbs).devices
  assert.ok(devices.every(({ name }) => name !== "rxe0"))
  yield* comeBack
  yield* Effect.scoped(Effect.flatMap(pair, ({ a, b }) => works(a, b)))
})

const tests: ReadonlyArray<Named<Verbs | Scope.Scope>> = [
  { name: "a device that is removed ends its work, and comes back", test: removed }
]

await Effect.runPromise(
  Effect.provide(
    report(tests.map(({ name, test }) => ({ name, test: Effect.scoped(test) }))),
    IbVerbs.layer()
  )
)
