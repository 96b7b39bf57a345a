/** Demands on sends and receives. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { same } from "../contract.ts"
import {
  apart,
  completions,
  connected,
  demand,
  ended,
  failed,
  holds,
  pattern,
  post,
  receive,
  silent,
  toReady,
  toReceive,
  work
} from "./rig.ts"

/** Lengths around limits: headers, packets, segments, buffers. */
const lengths = [0, 1, 3, 4, 63, 64, 1023, 1424, 4096, 16_384, 64_511, 65_536, 200_000]

export const messages = [
  demand("messages arrive unchanged, in order, once", function* () {
    const bytes = 200_000
    const { a, b } = yield* connected({ bytes })
    const sent = pattern(bytes)
    a.region.bytes.set(sent)
    for (const [id, length] of lengths.entries()) {
      b.region.bytes.fill(0)
      yield* receive(b, id, 0, bytes)
      yield* post(a, work(a, { id, length, at: bytes - length }))
      yield* ended(b, { id, kind: "receive", status: "success", length })
      yield* ended(a, { id, kind: "send", status: "success" })
      yield* holds(b.region, 0, sent.subarray(bytes - length), `${length} bytes`)
    }
    for (const local of [a, b]) yield* silent(local)
  }),

  demand("many messages in both directions at once keep their order", function* () {
    const { a, b } = yield* connected()
    const ids = Array.from({ length: 100 }, (_, id) => id)
    for (const local of [a, b]) for (const id of ids) yield* receive(local, 1000 + id, 64 * id, 64)
    for (const local of [a, b]) {
      for (const id of ids) {
        local.region.bytes[32_768 + id] = id
        yield* post(local, work(local, { id, length: 1, at: 32_768 + id }))
      }
    }
    for (const local of [a, b]) {
      const all = yield* completions(local, 200)
      const sent = all.filter(({ kind }) => kind === "send").map(({ id }) => id)
      const received = all.filter(({ kind }) => kind === "receive").map(({ id }) => id - 1000)
      yield* same(sent, ids, "ends of sends")
      yield* same(received, ids, "ends of receives")
      yield* same(
        ids.map((id) => local.region.bytes[64 * id]),
        ids,
        "bytes"
      )
    }
  }),

  demand("parts are gathered in order and filled in order", function* () {
    const { a, b } = yield* connected()
    a.region.bytes.set(pattern(64))
    const sinks = toReceive(b, 1, 0, 7)
    sinks.scatterList.add(b.region, 100, 0).add(b.region, 200, 20).add(b.region, 300, 100)
    yield* same(b.queuePair.postReceive(sinks), "accepted", "post of a receive")
    const request = work(a, { length: 10, at: 20 })
    request.scatterList.add(a.region, 0, 5).add(a.region, 40, 15)
    yield* post(a, request)
    yield* ended(b, { length: 30 })
    const sent = Buffer.concat([
      pattern(64).subarray(20, 30),
      pattern(64).subarray(0, 5),
      pattern(64).subarray(40, 55)
    ])
    yield* holds(b.region, 0, sent.subarray(0, 7), "first part")
    yield* holds(b.region, 200, sent.subarray(7, 27), "third part")
    yield* holds(b.region, 300, sent.subarray(27), "last part")
    yield* same(b.region.bytes[303], 0, "the byte behind the message")
  }),

  demand("a message longer than the receive ends both queue pairs", function* () {
    const { a, b } = yield* connected()
    yield* receive(b, 1, 100, 16)
    yield* receive(b, 2)
    yield* post(a, work(a, { id: 3, length: 17 }))
    yield* ended(b, { id: 1, status: "local-length" })
    yield* ended(b, { id: 2, status: "flushed" })
    yield* failed(a)
    yield* holds(b.region, 116, new Uint8Array(100), "bytes behind the receive")
    if (!a.capabilities.acknowledges) return
    const { status } = yield* ended(a, { id: 3 })
    // Linux's soft-RoCE says that the peer failed.
    const isTold = status === "remote-invalid" || status === "remote-operation"
    yield* same(isTold, true, `status ${status}`)
  }),

  demand(
    "a message without a receive ends the connection if retries are off",
    function* () {
      const { a, b } = yield* connected({}, { rnrRetries: 0 })
      yield* post(a, work(a, { id: 1, length: 8 }))
      if (a.capabilities.acknowledges) {
        yield* ended(a, { id: 1, status: "rnr-retry-exceeded" })
        yield* same(b.queuePair.state, "rts", "state of the peer, which has done nothing wrong")
      }
      // Polls, because the peer may get the end of the connection later.
      yield* failed(a)
    },
    []
  ),

  demand(
    "a message without a receive is sent again, as often as agreed",
    function* () {
      const { a, b } = yield* connected({}, { rnrRetries: 3 })
      yield* post(a, work(a, { id: 1, length: 8 }))
      yield* post(a, work(a, { id: 2, length: 8 }))
      yield* ended(a, { id: 1, status: "rnr-retry-exceeded" })
      yield* ended(a, { id: 2, status: "flushed" })
      yield* silent(b)
    },
    ["rnrRetries"]
  ),

  demand(
    "a message that waited for a receive arrives once",
    function* () {
      const { a, b } = yield* connected({}, { rnrRetries: 7 })
      for (const id of [1, 2]) yield* post(a, work(a, { id, length: 8 * id }))
      yield* Effect.sleep("100 millis")
      yield* silent(a, "completions before the receive")
      for (const id of [3, 4]) yield* receive(b, id)
      yield* ended(b, { id: 3, length: 8 })
      yield* ended(b, { id: 4, length: 16 })
      for (const id of [1, 2]) yield* ended(a, { id, status: "success" })
      yield* silent(b)
    },
    ["rnrRetries"]
  ),

  demand("a message to a peer that is not ready yet arrives once it is", function* () {
    const { a, b } = yield* apart({})
    yield* receive(b, 1)
    yield* toReady(a, b)
    yield* post(a, work(a, { id: 2, length: 8 }))
    yield* Effect.sleep("50 millis")
    yield* toReady(b, a)
    yield* ended(b, { id: 1, length: 8 })
    yield* ended(a, { id: 2, status: "success" })
    yield* silent(b)
  }),

  demand("completions are a stream as well", function* () {
    const { a, b } = yield* connected()
    for (let id = 0; id < 100; id++) yield* receive(b, id)
    for (let id = 0; id < 100; id++) yield* post(a, work(a, { id, signalled: id % 10 === 9 }))
    const received = yield* Stream.runCollect(Stream.take(b.completions.completions, 100))
    yield* same(
      received.map(({ id }) => id),
      Array.from({ length: 100 }, (_, id) => id),
      "receives"
    )
    const sent = yield* Stream.runCollect(Stream.take(a.completions.completions, 10))
    yield* same(
      sent.map(({ id }) => id),
      [9, 19, 29, 39, 49, 59, 69, 79, 89, 99],
      "sends"
    )
  })
]
