/** What a raw peer attacks: a queue pair of a provider on the loopback interface. */
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Gid from "../../../src/schema/Gid.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import type { Device } from "../../../src/native/verbs/Device.ts"
import type { Access, Region } from "../../../src/native/verbs/Region.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as IwarpVerbs from "../../../src/native/iwarp/IwarpVerbs.ts"
import { Verbs } from "../../../src/native/verbs/Verbs.ts"
import { dialRaw, ready, request } from "./rawPeer.ts"

const everything: ReadonlyArray<Access> = [
  "local-write",
  "remote-write",
  "remote-read",
  "remote-atomic"
]

/** What a hostile peer knows: keys and addresses. */
export interface Keys {
  readonly open: Region
  readonly foreign: Region
  readonly readOnly: Region
  readonly writeOnly: Region
}

export const victim = Effect.fnUntraced(function* (device: Device, posted: ReadonlyArray<number>) {
  const domain = yield* device.protectionDomain
  const other = yield* device.protectionDomain
  const memory = new SharedArrayBuffer(4096)
  new Uint8Array(memory).fill(0xee)
  const part = (offset: number, access: ReadonlyArray<Access>, of = domain) =>
    of.register({ memory, offset, length: 64, access })
  const keys: Keys = {
    open: yield* part(1024, everything),
    foreign: yield* part(1536, everything, other),
    readOnly: yield* part(2048, ["local-write", "remote-read"]),
    writeOnly: yield* part(2560, ["local-write", "remote-write"])
  }
  const completions = yield* device.completionQueue(64)
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access: everything })
  const inbox = yield* domain.register({ memory: 4096 })
  inbox.bytes.fill(0xee)
  for (const [index, length] of posted.entries()) {
    const receive = new ReceiveRequest()
    receive.id = index
    receive.scatterList.add(inbox, 128 * index, length)
    queuePair.postReceive(receive)
  }
  return { keys, memory, inbox, queuePair, completions, posted }
})

/** Everything outside the first receive is as it was. */
export const isUntouched = (memory: SharedArrayBuffer, inbox: Region, posted: number) =>
  new Uint8Array(memory).every((byte) => byte === 0xee) &&
  inbox.bytes.subarray(posted).every((byte) => byte === 0xee)

/** A raw peer that is connected to a victim. */
export const attack = Effect.fnUntraced(function* (
  device: Device,
  posted: ReadonlyArray<number>,
  wishes: Parameters<typeof request>[0] = {}
) {
  const target = yield* victim(device, posted)
  const listener = yield* device.listen({ host: "127.0.0.1" })
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((asked) => asked.accept({ queuePair: target.queuePair, inboundReads: 4 })),
    Effect.forkScoped({ startImmediately: true })
  )
  const peer = yield* dialRaw(listener.address.port, "127.0.0.1")
  peer.send(request(wishes))
  yield* peer.until(() => peer.reply !== undefined)
  peer.send(ready)
  return { peer, target, connection: yield* Fiber.join(accepting) }
})

/** Two ordinary ends, whose messages must go on arriving. */
export const bystanders = Effect.fnUntraced(function* (device: Device) {
  const make = Effect.gen(function* () {
    const domain = yield* device.protectionDomain
    const completions = yield* device.completionQueue(64)
    const region = yield* domain.register({ memory: 64 })
    const queuePair = yield* domain.queuePair({ sendCompletions: completions })
    yield* queuePair.modify({ to: "init" })
    return { completions, region, queuePair }
  })
  const [a, b] = [yield* make, yield* make]
  const listener = yield* device.listen({ host: "127.0.0.1" })
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((asked) => asked.accept({ queuePair: b.queuePair })),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* device.connect({ to: listener.address, queuePair: a.queuePair })
  yield* Fiber.join(accepting)
  const batch = new CompletionBatch(1)
  const one = Effect.fnUntraced(function* (end: typeof a) {
    yield* end.completions.ready
    end.completions.poll(batch)
    return batch.at(0).status
  })
  return Effect.gen(function* () {
    const receive = new ReceiveRequest()
    receive.scatterList.add(b.region)
    b.queuePair.postReceive(receive)
    const message = new SendRequest()
    message.scatterList.add(a.region, 0, 32)
    a.queuePair.post(message)
    assert.deepStrictEqual([yield* one(a), yield* one(b)], ["success", "success"])
  })
})

/** The loopback interface, opened. */
export class Loopback extends Context.Service<Loopback, { readonly device: Device }>()(
  "handfast/test/Loopback"
) {
  static readonly layer = (settings: Parameters<typeof IwarpVerbs.layer>[0]) =>
    Layer.effect(
      Loopback,
      Effect.gen(function* () {
        const verbs = yield* Verbs
        for (const { name } of yield* verbs.devices) {
          const device = yield* verbs.open(name)
          const { gids } = yield* device.port()
          if (gids.some(({ gid }) => Gid.toAddress(gid) === "127.0.0.1")) return { device }
        }
        return yield* Effect.die("no loopback interface")
      })
    ).pipe(Layer.provide(IwarpVerbs.layer(settings)))
}
