/** Demands on posts: which are accepted, which are refused, and when slots become free. */
import { CompletionBatch } from "../../../../native/verbs/Completion.ts"
import { same } from "../contract.ts"
import {
  completions,
  connected,
  demand,
  ended,
  holds,
  pattern,
  post,
  receive,
  silent,
  toReceive,
  work
} from "./rig.ts"

export const posting = [
  demand("a request may be filled again as soon as it was posted", function* () {
    const { a, b } = yield* connected()
    for (const id of [1, 2, 3]) yield* receive(b, id, 100 * id, 100)
    a.region.bytes.set(pattern(300))
    const request = work(a, {})
    for (const id of [1, 2, 3]) {
      request.id = id
      request.scatterList.clear().add(a.region, 100 * (id - 1), 100)
      yield* post(a, request)
    }
    request.scatterList.clear()
    for (const id of [1, 2, 3]) {
      yield* ended(b, { id, length: 100 })
      yield* holds(b.region, 100 * id, pattern(300).subarray(100 * id - 100, 100 * id), "bytes")
    }
  }),

  demand("bytes sent inline may change at once", function* () {
    const { a, b } = yield* connected()
    yield* receive(b, 1)
    a.region.bytes.set(pattern(48))
    yield* post(a, work(a, { inline: true, length: 48 }))
    a.region.bytes.fill(0, 0, 48)
    yield* ended(b, { length: 48 })
    yield* holds(b.region, 0, pattern(48), "bytes")
  }),

  demand("more parts or more inline bytes than allowed are refused", function* () {
    const { a, b } = yield* connected({ maxScatterEntries: 2, maxInlineBytes: 32 })
    const long = work(a, { inline: true, length: 33 })
    yield* same(a.queuePair.post(long), "too-long", "a long inline send")
    const many = work(a, { length: 8 })
    many.scatterList.add(a.region, 8, 8).add(a.region, 16, 8)
    yield* same(a.queuePair.post(many), "too-many-entries", "a send of three parts")
    const sinks = toReceive(b, 1)
    sinks.scatterList.add(b.region, 0, 8).add(b.region, 8, 8)
    yield* same(b.queuePair.postReceive(sinks), "too-many-entries", "a receive of three parts")
    yield* same(a.queuePair.outstandingSends, 0, "posted sends")
    yield* same(a.completions.reserved + b.completions.reserved, 0, "reserved completions")
  }),

  demand("a full queue refuses, and has room again when completions were polled", function* () {
    const { a, b } = yield* connected({ sendDepth: 3, receiveDepth: 2 })
    for (const id of [1, 2]) yield* receive(b, id)
    yield* same(b.queuePair.postReceive(toReceive(b, 3)), "queue-full", "the third receive")
    const write = work(a, { opcode: "write", length: 8 })
    write.remote(b.region.remoteKey, b.region.address)
    for (const id of [1, 2, 3]) yield* post(a, Object.assign(write, { id }))
    yield* same(a.queuePair.freeSendSlots, 0, "room")
    yield* same(a.queuePair.post(write), "queue-full", "the fourth send")
    yield* ended(a, { id: 1 })
    yield* post(a, Object.assign(write, { id: 4 }))
    const rest = yield* completions(a, 3)
    yield* same(
      rest.map(({ id }) => id),
      [2, 3, 4],
      "ends"
    )
  }),

  demand("silent work frees its slot with the next completion", function* () {
    const { a, b } = yield* connected({ sendDepth: 4 })
    const write = work(a, { opcode: "write", length: 8 })
    write.remote(b.region.remoteKey, b.region.address)
    for (let round = 1; round <= 3; round++) {
      for (const signalled of [false, false, false, true]) {
        yield* post(a, Object.assign(write, { id: round, signalled }))
      }
      yield* same(a.queuePair.post(write), "queue-full", "a send more than there are places")
      yield* ended(a, { id: round, kind: "write" })
      yield* silent(a, "completions of silent work")
    }
    yield* same(a.completions.reserved, 0, "reserved completions")
  }),

  demand("a completion queue is never overrun", function* () {
    const { a, b } = yield* connected({ capacity: 3 })
    const write = work(a, { opcode: "write", length: 8 })
    write.remote(b.region.remoteKey, b.region.address)
    yield* receive(a, 1)
    for (const id of [2, 3]) yield* post(a, Object.assign(write, { id }))
    yield* same(a.completions.reserved, 3, "reserved completions")
    yield* same(a.queuePair.post(write), "completions-full", "a third write")
    yield* same(a.queuePair.postReceive(toReceive(a, 4)), "completions-full", "a receive")
    yield* ended(a, { id: 2 })
    yield* post(a, Object.assign(write, { id: 5 }))
    yield* completions(a, 2)
  }),

  demand("a poll brings no more than its batch holds", function* () {
    const { a, b } = yield* connected()
    const write = work(a, { opcode: "write", length: 8 })
    write.remote(b.region.remoteKey, b.region.address)
    for (let id = 0; id < 10; id++) yield* post(a, Object.assign(write, { id }))
    const batch = new CompletionBatch(3)
    const found: Array<number> = []
    while (found.length < 10) {
      yield* a.completions.ready
      const count = a.completions.poll(batch)
      yield* same(count === batch.count && count >= 1 && count <= 3, true, "size of a batch")
      for (let index = 0; index < count; index++) found.push(batch.at(index).id)
    }
    yield* same(found, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "ends, in the order of the posts")
  })
]
