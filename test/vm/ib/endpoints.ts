/**
 * Endpoints on a real driver: with the gate no work request meets a queue pair that is not ready,
 * also when the active side is slow; without it, that is seen to happen.
 */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import * as IbVerbs from "../../../src/native/ib/IbVerbs.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import type { Device } from "../../../src/native/verbs/Device.ts"
import type { QueuePair } from "../../../src/native/verbs/QueuePair.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { pool, tcpHost, type TcpHost } from "../../actors/endpoint/tcp.ts"
import { report } from "./report.ts"

const bytes = 1 << 16
const access = ["local-write", "remote-write"] as const
/** Soft-RoCE takes the usual 7 for ever. */
const retries = 3
/** Longer than a sender tries: 4 times 67 ms. */
const slowMillis = 3_000

const withSteps = (queuePair: QueuePair, millis: number): QueuePair => {
  const modify = queuePair.modify.bind(queuePair)
  const late: QueuePair["modify"] = (step) => {
    if (step.to === "rtr") return Effect.delay(modify(step), millis)
    return modify(step.to === "rts" ? { ...step, retries } : step)
  }
  return Object.defineProperty(queuePair, "modify", { value: late })
}

const slowed = (device: Device, millis: number): Device => ({
  ...device,
  protectionDomain: Effect.map(device.protectionDomain, (domain) => ({
    register: (options) => domain.register(options),
    queuePair: (options) =>
      Effect.map(domain.queuePair(options), (queuePair) => withSteps(queuePair, millis))
  }))
})

/** The devices of this machine, whose queue pairs begin to receive so late. */
const verbs = (millis: number) =>
  Layer.effect(
    Verbs,
    Effect.map(Verbs, (provider) => ({
      ...provider,
      open: (name, reach) =>
        Effect.map(provider.open(name, reach), (device) => slowed(device, millis))
    }))
  ).pipe(Layer.provide(IbVerbs.layer()))

const host = (millis: number, gate: "on" | "off") =>
  tcpHost({ device: "rxe0", gidIndex: 1, store: { rules: { gate } } }).pipe(
    Effect.provide(
      Layer.mergeAll(verbs(millis), TcpHandshakes.layer(), Journal.layerMemory).pipe(
        Layer.provideMerge(pool)
      )
    )
  )

/** Writes a region full of one byte, and answers how that ended. */
const write = Effect.fnUntraced(function* (from: TcpHost, to: TcpHost, link: ReadyLink) {
  const target = yield* to.nic.domain.register({ memory: bytes, access })
  const source = yield* from.nic.domain.register({ memory: bytes })
  source.bytes.fill(7)
  const request = new SendRequest()
  request.opcode = "write"
  request.scatterList.add(source)
  request.remote(target.remoteKey, target.address)
  assert.equal(link.post(request), "accepted")
  const batch = new CompletionBatch(1)
  while (from.nic.completions.poll(batch) === 0) yield* from.nic.completions.ready
  const { status } = batch.at(0)
  if (status === "success") assert.ok(target.bytes.every((byte) => byte === 7))
  return status
})

/** The active side opens, and the passive one writes as soon as it may. */
const passiveWrites = (millis: number, gate: "on" | "off") =>
  Effect.gen(function* () {
    const [active, passive] = [yield* host(millis, gate), yield* host(0, gate)]
    const opening = yield* Effect.forkChild(active.store.open(passive.path))
    while ((yield* passive.store.stateOf(active.path))._tag === "Idle") yield* Effect.sleep(5)
    const link = yield* passive.store.open(active.path)
    const status = yield* write(passive, active, link)
    yield* Effect.exit(Effect.succeed(opening))
    return status
  }).pipe(Effect.scoped)

const is = (expected: ReadonlyArray<string>) => (found: string) =>
  Effect.sync(() => assert.ok(expected.includes(found), found))

const tests = [
  {
    name: "both sides get ready, and write to each other",
    test: Effect.gen(function* () {
      const [a, b] = [yield* host(0, "on"), yield* host(0, "on")]
      const there = yield* a.store.open(b.path)
      const back = yield* b.store.open(a.path)
      assert.deepEqual(
        [yield* write(a, b, there), yield* write(b, a, back)],
        ["success", "success"]
      )
    }).pipe(Effect.scoped)
  },
  {
    name: "with the gate, a slow active side is waited for",
    test: Effect.tap(passiveWrites(slowMillis, "on"), is(["success"]))
  },
  {
    name: "without the gate, a slow active side is written to too soon",
    test: Effect.tap(passiveWrites(slowMillis, "off"), is(["retry-exceeded"]))
  }
]

await Effect.runPromise(report(tests))
