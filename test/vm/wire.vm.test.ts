/**
 * Goal: Linux's software iWARP means the same as we by what no provider of ours would say: a
 * signal by a read of nothing (ours signals by a write, which siw always takes), and a frame
 * with a wrong checksum.
 * Method: ucmatose of rdma-core, which exchanges messages, against frames written by hand.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Message } from "../../src/schema/iwarp/Message.ts"
import { encode } from "../../src/schema/iwarp/MessageCodec.ts"
import * as Mpa from "../../src/schema/iwarp/Mpa.ts"
import * as Negotiation from "../../src/schema/iwarp/Negotiation.ts"
import { crc, dialRaw, type RawPeer, wishes } from "../native/verbs/rawPeer.ts"
import { Machine, onMachine } from "./machine.ts"

const count = 20
const messageBytes = 1000
/**
 * siw (6.1) starts to listen on a stream only after it has sent its reply: what comes in between
 * stays unread until more comes, and when the stream ends before that, its kernel stops at a BUG.
 */
const nudgeMillis = 100

const send = (msn: number): Message => ({
  _tag: "Send",
  last: 1,
  solicited: 0,
  msn,
  mo: 0,
  payload: new Uint8Array(messageBytes)
})

const readOfNothing: Message = {
  _tag: "ReadRequest",
  msn: 1,
  sinkStag: 1,
  sinkTo: 0n,
  readSize: 0,
  srcStag: 1,
  srcTo: 0n
}
const nudge: Message = { _tag: "Write", last: 1, stag: 1, to: 0n, payload: new Uint8Array(0) }

/** A raw peer that has signalled by a read, and has seen the answer. */
const dial = Effect.fnUntraced(function* (port: number, checked: boolean) {
  const peer = yield* dialRaw(port, "127.0.0.1")
  const sum = checked ? crc : undefined
  const asked = Negotiation.request({ ...wishes, crc: checked })
  peer.send(Mpa.encode({ ...asked, enhanced: { ...asked.enhanced!, readyByWrite: false } }))
  yield* peer.until(() => peer.reply !== undefined)
  assert.strictEqual(peer.reply?.crc, checked)
  assert.isTrue(peer.reply?.enhanced?.readyByRead)
  peer.send(encode(readOfNothing, sum))
  const nudging = setInterval(() => peer.send(encode(nudge, sum)), nudgeMillis)
  yield* heard(peer, "ReadResponse", 1)
  clearInterval(nudging)
  return { peer, say: (message: Message) => encode(message, sum) }
})

/** Waits for messages of a kind. */
const heard = (peer: RawPeer, tag: Message["_tag"], count: number) => {
  const of = () => peer.messages.filter(({ _tag }) => _tag === tag).length
  return Effect.map(
    peer.until(() => of() >= count),
    () => assert.strictEqual(of(), count, tag)
  )
}

const ucmatose = Effect.flatMap(Machine, ({ serve }) =>
  serve(`ucmatose -C ${count} -S ${messageBytes}`, 7471)
)

onMachine("siw and a peer of our own", (it) => {
  for (const checked of [true, false]) {
    it.effect(`exchange messages; ready by read, CRC ${checked ? "on" : "off"}`, () =>
      Effect.gen(function* () {
        const { port, server } = yield* ucmatose
        const { peer, say } = yield* dial(port, checked)
        for (let msn = 1; msn <= count; msn++) peer.send(say(send(msn)))
        yield* heard(peer, "Send", count)
        yield* Effect.sync(() => peer.socket.end())
        const { output, status } = yield* Fiber.join(server)
        assert.include(output, "data transfers complete")
        assert.strictEqual(status, 0, output)
      })
    )
  }

  it.effect("part after a wrong checksum", () =>
    Effect.gen(function* () {
      const { port } = yield* ucmatose
      const { peer, say } = yield* dial(port, true)
      peer.send(say(send(1)))
      const spoiled = say(send(2))
      spoiled[spoiled.length - 1]! ^= 1
      peer.send(spoiled)
      // With a good one it would wait for the next, and this test for the end.
      yield* peer.closed
    })
  )
})
