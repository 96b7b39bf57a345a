/**
 * Goal: what two ends really say to each other is what tshark reads, message by message.
 * Method: a proxy between two ends records a session with every operation and a refusal; tshark
 * finds each FPDU, its opcode and a good CRC, and nothing malformed.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as net from "node:net"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { type Opcode, ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as IwarpDecoder from "../../../src/schema/iwarp/IwarpDecoder.ts"
import { capture, type Chunk, fieldsOf, verdicts } from "../../schema/iwarp/capture.ts"
import { peer } from "../../peers.ts"
import { Loopback } from "./targets.ts"

/** Bytes of a TCP segment in the capture. */
const segmentBytes = 1448

/** Forwards one connection to a port, and keeps what passes. */
const proxy = Effect.fnUntraced(function* (to: number) {
  const chunks: Array<Chunk> = []
  const note = (from: "I" | "O", bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.length; at += segmentBytes) {
      chunks.push({ from, bytes: bytes.slice(at, at + segmentBytes) })
    }
  }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      net.createServer((outer) => {
        const inner = net.connect({ host: "127.0.0.1", port: to })
        outer.on("data", (bytes) => note("I", bytes)).pipe(inner)
        inner.on("data", (bytes) => note("O", bytes)).pipe(outer)
        for (const socket of [inner, outer]) socket.on("error", () => {})
      })
    ),
    (server) => Effect.sync(() => server.close())
  )
  yield* Effect.callback<void>((resume) => {
    server.listen(0, "127.0.0.1", () => resume(Effect.void))
  })
  const address = server.address()
  const port = typeof address === "object" ? (address?.port ?? 0) : 0
  return { chunks, to: { host: "127.0.0.1", port } }
})

const access = ["local-write", "remote-write", "remote-read", "remote-atomic"] as const

const end = Effect.gen(function* () {
  const { device } = yield* Loopback
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(256)
  const region = yield* domain.register({ memory: 200_000, access })
  const lent = yield* domain.register({ memory: 64, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access })
  const receive = new ReceiveRequest()
  receive.scatterList.add(region, 0, 2000)
  for (let id = 0; id < 10; id++) queuePair.postReceive(receive)
  const batch = new CompletionBatch(1)
  const next = Effect.gen(function* () {
    yield* completions.ready
    completions.poll(batch)
    return batch.at(0)
  })
  return { device, lent, next, queuePair, region }
})

/** Each operation once, and in the end one that is refused. */
const session = Effect.gen(function* () {
  const [a, b] = [yield* end, yield* end]
  const listener = yield* b.device.listen({ host: "127.0.0.1" })
  const { chunks, to } = yield* proxy(listener.address.port)
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((asked) => asked.accept({ queuePair: b.queuePair })),
    Effect.forkScoped({ startImmediately: true })
  )
  yield* a.device.connect({ to, queuePair: a.queuePair, privateData: new Uint8Array(56).fill(1) })
  const connection = yield* Fiber.join(accepting)
  const post = (opcode: Opcode, length: number, key = b.region.remoteKey) => {
    const work = Object.assign(new SendRequest(), { opcode, value: 5n, compare: 1n })
    work.immediate = 0xabcd
    work.invalidate = b.lent.remoteKey
    work.scatterList.add(a.region, 0, length)
    assert.strictEqual(a.queuePair.post(work.remote(key, b.region.address)), "accepted")
  }
  const operations: ReadonlyArray<readonly [Opcode, number]> = [
    ["send", 1000],
    ["send-invalidate", 0],
    ["write", 150_000],
    ["write-immediate", 13],
    ["read", 100_000],
    ["fetch-add", 8],
    ["compare-swap", 8]
  ]
  for (const [opcode, length] of operations) {
    post(opcode, length)
    let ended = yield* a.next
    while (ended.kind === "receive") ended = yield* a.next
    assert.strictEqual(ended.status, "success", opcode)
  }
  post("write", 8, 0x1234)
  yield* connection.disconnected
  yield* Effect.sleep("20 millis")
  return chunks
})

peer("tshark", "tshark reads a session of two ends", () => {
  it.live("each FPDU by its opcode, with a good CRC and nothing malformed", () =>
    Effect.gen(function* () {
      const chunks = yield* session
      const decoder = IwarpDecoder.make()
      // The start-up frames are chunks of their own; the decoder wants whole FPDUs after them.
      const side = (from: "I" | "O") => chunks.filter((chunk) => chunk.from === from)
      const [asked, ...sent] = side("I").map(({ bytes }) => bytes)
      const [replied, ...answered] = side("O").map(({ bytes }) => bytes)
      const frames = [
        ...decoder.decode(asked!, "c2s"),
        ...decoder.decode(replied!, "s2c"),
        ...decoder.decode(Buffer.concat(sent), "c2s"),
        ...decoder.decode(Buffer.concat(answered), "s2c")
      ].flatMap((decoded) => {
        assert.isTrue(decoded.ok)
        return decoded.ok ? [decoded.frame as { readonly opcode?: number }] : []
      })
      const ours = frames.flatMap(({ opcode }) => opcode ?? []).toSorted((x, y) => x - y)
      assert.includeMembers(ours, [0, 1, 2, 3, 4, 7, 8, 10, 11])
      const pcap = capture("session", chunks)
      const theirs = fieldsOf(pcap, ["iwarp_rdma.opcode"])
        .flatMap((row) => row("iwarp_rdma.opcode").split(","))
        .filter((value) => value !== "")
        .map(Number)
        .toSorted((x, y) => x - y)
      assert.deepStrictEqual(theirs, ours)
      const { bad, good, malformed } = verdicts(pcap)
      assert.deepStrictEqual([good, bad, malformed], [ours.length, 0, ""])
    }).pipe(
      Effect.scoped,
      Effect.provide(Loopback.layer({ on: "worker", pool: { workers: 1 }, segmentBytes }))
    )
  )
})
