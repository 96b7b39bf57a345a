/** Two queue pairs of one device that are connected to each other, with what they need. */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { type Completion, CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import type { Device } from "../../../src/native/verbs/Device.ts"
import type { Access } from "../../../src/native/verbs/Region.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"

export const everything: ReadonlyArray<Access> = [
  "local-write",
  "remote-write",
  "remote-read",
  "remote-atomic"
]

/** A queue pair in `init`, and memory that a peer may do everything with. */
export const endOn = Effect.fnUntraced(function* (device: Device) {
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(64)
  const region = yield* domain.register({ memory: 4096, access: everything })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access: everything })
  return { device, domain, completions, region, queuePair }
})

export const end = Effect.gen(function* () {
  return yield* endOn(yield* (yield* Verbs).open())
})

export type End = Effect.Success<typeof end>

/** Takes a queue pair to `rts`, towards another one of the same device. */
export const toReady = Effect.fnUntraced(function* (from: End, to: End) {
  const { activeMtu: mtu, gids } = yield* to.device.port()
  const peer = to.queuePair.number
  yield* from.queuePair.modify({ to: "rtr", path: { gid: gids[0]!.gid }, mtu, peer })
  yield* from.queuePair.modify({ to: "rts" })
})

/** Two ends that are connected. */
export const pair = Effect.gen(function* () {
  const device = yield* (yield* Verbs).open()
  const [a, b] = [yield* endOn(device), yield* endOn(device)]
  yield* toReady(a, b)
  yield* toReady(b, a)
  return { a, b, device }
})

/** A send or write of a part of the region. */
export const sending = (own: End, change: Partial<SendRequest> = {}, offset = 0, length = 8) => {
  const request = Object.assign(new SendRequest(), change)
  request.scatterList.add(own.region, offset, length)
  return request
}

export const receiving = (own: End, offset = 0, length = 64) => {
  const request = new ReceiveRequest()
  request.scatterList.add(own.region, offset, length)
  return request
}

/** The status of the next completion. */
export const nextStatus = Effect.fnUntraced(function* ({
  completions
}: End): Effect.fn.Return<Completion["status"]> {
  const batch = new CompletionBatch(1)
  while (completions.poll(batch) === 0) yield* Effect.orDie(completions.ready)
  return batch.at(0).status
})

/** A message arrives: all of it still works. */
export const works = Effect.fnUntraced(function* (a: End, b: End) {
  assert.equal(b.queuePair.postReceive(receiving(b)), "accepted")
  assert.equal(a.queuePair.post(sending(a)), "accepted")
  assert.deepEqual([yield* nextStatus(a), yield* nextStatus(b)], ["success", "success"])
})
