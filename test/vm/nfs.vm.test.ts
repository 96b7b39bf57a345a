/**
 * Goal: a service of the Linux kernel that speaks RDMA takes us for one of its own.
 * Method: calls of the procedure that does nothing (NULL) to its NFS server, with the headers of
 * RPC-over-RDMA (RFC 8166) and of RPC (RFC 5531) written by hand, over a queue pair of ours.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { ConnectParams } from "../../src/native/verbs/Connection.ts"
import { ConnectRejected } from "../../src/native/verbs/VerbsError.ts"
import { end, provided } from "./end.ts"
import { Machine, onMachine } from "./machine.ts"

const port = 20049
// Without version 3 there is nothing to register with a port mapper.
const startServer = `cd /proc/fs/nfsd && grep -q rdma portlist ||
  { echo -3 >versions && echo rdma ${port} >portlist && echo 1 >threads; }`.replaceAll("\n", " ")

const words = (...values: ReadonlyArray<number>): Uint8Array => {
  const view = new DataView(new ArrayBuffer(values.length * 4))
  values.forEach((value, k) => view.setUint32(k * 4, value))
  return new Uint8Array(view.buffer)
}
const numbers = (bytes: Uint8Array): ReadonlyArray<number> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return Array.from({ length: bytes.length / 4 }, (_, k) => view.getUint32(k * 4))
}

/** RFC 8797: version 1, no flags, 4096 bytes to send and to receive inline. */
const inline = Uint8Array.of(0xf6, 0xab, 0x0e, 0x18, 1, 0, 3, 3)
const credits = 16

/** A call without arguments: no chunks, no credentials. */
const call = (id: number, version: number): Uint8Array =>
  words(id, 1, credits, 0, 0, 0, 0, id, 0, 2, 100_003, version, 0, 0, 0, 0, 0)

const dial = Effect.fnUntraced(function* (terms: ConnectParams = {}) {
  const { forward, run } = yield* Machine
  const { output, status } = yield* run(startServer)
  assert.strictEqual(status, 0, output)
  const own = yield* end
  const connection = yield* own.connect(yield* forward(port), {
    privateData: inline,
    outboundReads: 1,
    ...terms
  })
  return { ...own, ...connection }
})

onMachine("the kernel's NFS server over RDMA", (it) => {
  for (const [what, peerToPeer] of [
    ["the signal", true],
    ["the first message", false]
  ] as const) {
    for (const crc of [true, false]) {
      it.effect(`answers; ready by ${what}, CRC ${crc ? "on" : "off"}`, () =>
        Effect.gen(function* () {
          const { privateData, receive, send } = yield* dial()
          assert.deepStrictEqual([...privateData.subarray(0, 5)], [...inline.subarray(0, 5)])
          for (const id of [0x1122_3344, 0x5566_7788]) {
            yield* send(call(id, 4))
            const [again, version, granted, ...rest] = numbers(yield* receive)
            assert.deepStrictEqual([again, version], [id, 1])
            assert.isAbove(granted!, 0)
            // A message without chunks: the reply to this call, accepted, and done.
            assert.deepStrictEqual(rest, [0, 0, 0, 0, id, 1, 0, 0, 0, 0])
          }
        }).pipe(provided({ crc, peerToPeer }))
      )
    }
  }

  it.effect("says which versions it has, when asked for another one", () =>
    Effect.gen(function* () {
      const { receive, send } = yield* dial()
      yield* send(call(1, 3))
      const [, , , ...rest] = numbers(yield* receive)
      assert.deepStrictEqual(rest, [0, 0, 0, 0, 1, 1, 0, 0, 0, 2, 4, 4])
    }).pipe(provided())
  )

  for (const [name, terms, settings] of [
    ["gives it no room for reads", { inboundReads: 0 }, {}],
    ["speaks revision 1, which says nothing of reads", {}, { revision: 1 }]
  ] as const) {
    it.effect(`rejects a client that ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(dial(terms))
        assert.strictEqual(error instanceof ConnectRejected && error.reason, "rejected")
      }).pipe(provided(settings))
    )
  }
})
