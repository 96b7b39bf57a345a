/** An end of ours: a queue pair, messages up to 4096 bytes, and memory to lend or to read into. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CompletionBatch } from "../../src/native/verbs/Completion.ts"
import type { ConnectParams } from "../../src/native/verbs/Connection.ts"
import { ReceiveRequest, SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import type * as IwarpVerbs from "../../src/native/iwarp/IwarpVerbs.ts"
import { Loopback } from "../native/verbs/targets.ts"

const messageBytes = 4096
const receives = 32
const access = ["local-write", "remote-write", "remote-read"] as const

/** Memory of the other side. */
export interface Remote {
  readonly key: number
  readonly address: number
  readonly length: number
}

/** The provider with its sockets in a worker. */
export const provided = (settings: Parameters<typeof IwarpVerbs.layer>[0] = {}) =>
  Effect.provide(Loopback.layer({ pool: { workers: 1 }, ...settings }))

export const end = Effect.gen(function* () {
  const { device } = yield* Loopback
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(256)
  const messages = yield* domain.register({ memory: (receives + 1) * messageBytes })
  const buffer = yield* domain.register({ memory: 65_536, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access })
  const toReceive = (id: number): void => {
    const request = Object.assign(new ReceiveRequest(), { id })
    request.scatterList.add(messages, id * messageBytes, messageBytes)
    assert.strictEqual(queuePair.postReceive(request), "accepted")
  }
  for (let id = 0; id < receives; id++) toReceive(id)
  const batch = new CompletionBatch(1)
  const heard: Array<Uint8Array> = []
  /** Waits for the next end; what was received is kept. */
  const next = Effect.gen(function* () {
    yield* completions.ready
    completions.poll(batch)
    const { id, kind, length, status } = batch.at(0)
    assert.strictEqual(status, "success", kind)
    if (kind !== "receive") return kind
    heard.push(messages.bytes.slice(id * messageBytes, id * messageBytes + length))
    toReceive(id)
    return kind
  })
  const post = Effect.fnUntraced(function* (
    opcode: "send" | "write" | "read",
    fill: (request: SendRequest) => void
  ) {
    const request = Object.assign(new SendRequest(), { opcode })
    fill(request)
    assert.strictEqual(queuePair.post(request), "accepted")
    while ((yield* next) !== opcode);
  })
  return {
    device,
    buffer,
    /** The next message of the other side. */
    receive: Effect.gen(function* () {
      while (heard.length === 0) yield* next
      return heard.shift()!
    }),
    send: (message: Uint8Array) =>
      post("send", (request) => {
        messages.bytes.set(message, receives * messageBytes)
        request.scatterList.add(messages, receives * messageBytes, message.length)
      }),
    /** Reads the other side's memory into the buffer, or writes the buffer there. */
    move: (opcode: "read" | "write", { address, key, length }: Remote) =>
      post(
        opcode,
        (request) => void request.remote(key, address).scatterList.add(buffer, 0, length)
      ),
    connect: (port: number, terms: ConnectParams = {}) =>
      device.connect({ to: { host: "127.0.0.1", port }, queuePair, ...terms }),
    /** Listens, and has an answer for whoever comes first. */
    listen: Effect.map(device.listen({ host: "127.0.0.1" }), ({ address, take }) => ({
      port: address.port,
      accept: (terms: ConnectParams = {}) =>
        Effect.flatMap(take, (request) => request.accept({ queuePair, ...terms })),
      reject: (privateData: Uint8Array) =>
        Effect.flatMap(take, (request) => request.reject(privateData))
    }))
  }
})
