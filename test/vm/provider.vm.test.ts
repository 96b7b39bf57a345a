/**
 * Goal: the software iWARP provider talks to Linux's own, in both roles.
 * Method: rping of rdma-core, whose server reads the client's memory and writes it back, against a
 * queue pair of ours; what it prints must be what we lent to it, or read from it.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Opcode, ReceiveRequest, SendRequest } from "../../src/native/verbs/WorkRequest.ts"
import { CompletionBatch } from "../../src/native/verbs/Completion.ts"
import { ConnectRejected } from "../../src/native/verbs/VerbsError.ts"
import { Loopback } from "../verbs/victims.ts"
import { guest, host, Machine, onMachine } from "./machine.ts"

const port = 7176
const adBytes = 16
const access = ["local-write", "remote-write", "remote-read"] as const

interface Memory {
  readonly key: number
  readonly address: number
  readonly length: number
}

/** A queue pair, the memory that is lent or read into, and messages of 16 octets. */
const end = Effect.gen(function* () {
  const { device } = yield* Loopback
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(256)
  const messages = yield* domain.register({ memory: 4096 })
  const buffer = yield* domain.register({ memory: 65_536, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access })
  const receive = new ReceiveRequest()
  const toReceive = (slot: number): void => {
    receive.id = slot
    receive.parts.clear().add(messages, slot * adBytes, adBytes)
    assert.strictEqual(queuePair.postReceive(receive), "accepted")
  }
  for (let slot = 0; slot < 8; slot++) toReceive(slot)
  const batch = new CompletionBatch(1)
  const heard: Array<Uint8Array> = []
  /** Waits for the next end; what was received is kept. */
  const next = Effect.gen(function* () {
    yield* completions.ready
    completions.poll(batch)
    const { id, kind, status } = batch.at(0)
    assert.strictEqual(status, "success", kind)
    if (kind !== "receive") return kind
    heard.push(messages.octets.slice(id * adBytes, (id + 1) * adBytes))
    toReceive(id)
    return kind
  })
  const take = Effect.gen(function* () {
    while (heard.length === 0) yield* next
    return heard.shift()!
  })
  const work = Effect.fnUntraced(function* (opcode: Opcode, length: number, to?: Memory) {
    const request = Object.assign(new SendRequest(), { opcode })
    if (opcode === "send") request.parts.add(messages, 2048, length)
    else request.parts.add(buffer, 0, length)
    if (to !== undefined) request.remote(to.key, to.address)
    assert.strictEqual(queuePair.post(request), "accepted")
    const kind = opcode === "send" || opcode === "write" ? opcode : "read"
    while ((yield* next) !== kind);
  })
  /** Tells rping where memory is. */
  const advertise = (length: number) => {
    const view = new DataView(messages.memory, 2048, adBytes)
    view.setBigUint64(0, BigInt(buffer.address))
    view.setUint32(8, buffer.remoteKey)
    view.setUint32(12, length)
    return work("send", adBytes)
  }
  const advertised = Effect.map(take, (message): Memory => {
    const view = new DataView(message.buffer)
    const address = Number(view.getBigUint64(0))
    return { address, key: view.getUint32(8), length: view.getUint32(12) }
  })
  return { advertise, advertised, buffer, device, queuePair, take, work }
})

onMachine("the provider and siw", (it) => {
  for (const crc of [true, false]) {
    it.effect(`our client pings its server; CRC ${crc ? "on" : "off"}`, () =>
      Effect.gen(function* () {
        const machine = yield* Machine
        const served = yield* machine.serve(`rping -s -v -S 30000 -a ${guest} -p ${port}`, port)
        const own = yield* end
        const to = { host: "127.0.0.1", port: served.port }
        const connection = yield* own.device.connect({ to, queuePair: own.queuePair })
        for (let round = 0; round < 3; round++) {
          const text = `round ${round}: `.padEnd(29_999, "the quick brown fox ")
          own.buffer.octets.set(Buffer.from(`${text}\0`, "latin1"))
          yield* own.advertise(30_000)
          yield* own.take
          own.buffer.octets.fill(0)
          yield* own.advertise(30_000)
          yield* own.take
          const back = Buffer.from(own.buffer.octets.slice(0, 29_999)).toString("latin1")
          assert.strictEqual(back, text)
        }
        yield* connection.disconnect
        const { output } = yield* Fiber.join(served.server)
        assert.strictEqual(output.split("server ping data: round ").length, 4)
      }).pipe(Effect.provide(Loopback.layer({ crc, pool: { workers: 1 } })))
    )

    it.effect(`its client pings our server; CRC ${crc ? "on" : "off"}`, () =>
      Effect.gen(function* () {
        const machine = yield* Machine
        const own = yield* end
        const listener = yield* own.device.listen({ host: "127.0.0.1" })
        const asked = yield* machine.start(
          `rping -c -v -V -C 3 -S 30000 -a ${host} -p ${listener.address.port}`
        )
        const request = yield* listener.take
        yield* request.accept({ queuePair: own.queuePair })
        for (let round = 0; round < 3; round++) {
          const source = yield* own.advertised
          yield* own.work("read", source.length, source)
          yield* own.work("send", adBytes)
          const sink = yield* own.advertised
          yield* own.work("write", sink.length, sink)
          yield* own.work("send", adBytes)
        }
        const { output, status } = yield* Fiber.join(asked)
        assert.strictEqual(output.split("ping data: ").length, 4, output)
        assert.strictEqual(status, 0)
      }).pipe(Effect.provide(Loopback.layer({ crc, pool: { workers: 1 } })))
    )
  }

  it.effect("its client is told that we reject it", () =>
    Effect.gen(function* () {
      const machine = yield* Machine
      const { device } = yield* Loopback
      const listener = yield* device.listen({ host: "127.0.0.1" })
      const { port } = listener.address
      const asked = yield* machine.start(`rping -c -C 1 -a ${host} -p ${port}`)
      const request = yield* listener.take
      yield* request.reject(new Uint8Array([1, 2, 3]))
      const { output, status } = yield* Fiber.join(asked)
      assert.include(output, "RDMA_CM_EVENT_REJECTED")
      assert.notStrictEqual(status, 0)
    }).pipe(Effect.provide(Loopback.layer({ pool: { workers: 1 } })))
  )

  it.effect("where nobody listens in the machine, nobody answers yes", () =>
    Effect.gen(function* () {
      const machine = yield* Machine
      const own = yield* end
      const to = { host: "127.0.0.1", port: yield* machine.forward(port + 1) }
      const error = yield* Effect.flip(own.device.connect({ to, queuePair: own.queuePair }))
      assert.isTrue(error instanceof ConnectRejected || error._tag === "Unreachable")
    }).pipe(Effect.provide(Loopback.layer({ pool: { workers: 1 } })))
  )
})
