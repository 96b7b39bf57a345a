/**
 * Goal: nothing is answered, made or kept for a caller that is not admitted, whatever it asks for,
 * and only a certificate that held makes a caller authenticated (R15, H5).
 * Method: the handler of requests itself, with callers as sockets and TLS describe them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Reception } from "../../../src/actors/endpoint/EndpointStore.ts"
import type { Offer } from "../../../src/actors/endpoint/Handshake.ts"
import { NotifyInbox } from "../../../src/actors/endpoint/mooncake/internal/notifyInbox.ts"
import {
  type Caller,
  RequestHandler
} from "../../../src/actors/endpoint/mooncake/internal/requestHandler.ts"
import type { PeerInfo } from "../../../src/native/io/internal/messages.ts"
import { type Frame, FrameReader } from "../../../src/schema/mooncake/Frame.ts"
import type { SegmentDescriptor } from "../../../src/schema/mooncake/SegmentDescriptor.ts"
import type { Notify } from "../../../src/schema/mooncake/Notify.ts"
import { offerFrom, questions } from "./strangers.ts"

const path = "10.0.0.1:1@x"

const frameOf = (bytes: Uint8Array): Frame => {
  const reader = new FrameReader()
  reader.push(bytes)
  return reader.frame!
}

const caller: PeerInfo = { address: "10.0.0.9", port: 1 }

const tls = { protocol: "", subject: "", fingerprint: "", alpn: "", servername: "" }

/** A handler for one card, what it was asked, and what it had done. */
const desk = Effect.fnUntraced(function* (admit?: (caller: Caller) => boolean) {
  const taken: Array<boolean | undefined> = []
  let descriptions = 0
  const takeOffer = (offer: Offer, isAuthenticated?: boolean) => {
    taken.push(isAuthenticated)
    return Effect.succeed({ ...offer, from: offer.to, to: offer.from })
  }
  const reception = { takeOffer } as unknown as Reception
  const queue = yield* Queue.dropping<Notify>(8)
  const segment = Effect.sync((): SegmentDescriptor => {
    descriptions += 1
    return {
      name: "10.0.0.1:1",
      protocol: "rdma",
      tcpDataPort: 0,
      tcpProtoVersion: 1,
      devices: [],
      buffers: [],
      priorityMatrix: {}
    }
  })
  const inbox = new NotifyInbox(queue, 1_024)
  const handler = new RequestHandler(new Map([[path, reception]]), inbox, "aaaaaaaa", {
    admit,
    segment
  })
  return {
    ask: (bytes: Uint8Array, peer = caller) => handler.answer(frameOf(bytes), { peer }),
    done: () => ({ taken, descriptions, notifies: Queue.sizeUnsafe(queue) })
  }
})

describe("a request", () => {
  it.effect("R15, H5: of a caller that is not admitted has no effect, whatever it asks", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const { ask, done } = yield* desk(({ asks, peer }) => {
        assert.strictEqual(peer, caller)
        asked.push(asks)
        return false
      })
      for (const [kind, bytes] of Object.entries(questions(path))) {
        const { outcome, text } = yield* ask(bytes)
        assert.strictEqual(outcome, "refused", kind)
        // Mooncake's dialect has no words for a refusal of anything but a handshake.
        if (kind === "offer") assert.include(text, "not-admitted")
        else assert.isUndefined(text, kind)
      }
      assert.deepStrictEqual(asked.toSorted(), ["handshake", "metadata", "notify", "probe"])
      assert.deepStrictEqual(done(), { taken: [], descriptions: 0, notifies: 0 })
      // The twin.
      const twin = yield* desk(() => true)
      for (const [kind, bytes] of Object.entries(questions(path))) {
        assert.strictEqual((yield* twin.ask(bytes)).outcome, "answered", kind)
      }
      assert.deepStrictEqual(twin.done(), { taken: [false], descriptions: 1, notifies: 1 })
    })
  )

  it.effect("closed: is of an authenticated caller if TLS has checked its certificate", () =>
    Effect.gen(function* () {
      const { ask, done } = yield* desk()
      const offer = offerFrom("10.0.0.2:1@y", path)
      yield* ask(offer)
      yield* ask(offer, { ...caller, tls: { ...tls, authorized: false } })
      yield* ask(offer, { ...caller, tls: { ...tls, authorized: true } })
      assert.deepStrictEqual(done().taken, [false, false, true])
    })
  )

  for (const which of ["from", "to"] as const) {
    it.effect(`closed: is not repeated in its answer if its path \`${which}\` is long`, () =>
      Effect.gen(function* () {
        const { ask, done } = yield* desk()
        const long = `10.0.0.1:1@${"y".repeat(600)}`
        const offer = which === "from" ? offerFrom(long, path) : offerFrom("10.0.0.2:1@y", long)
        const { outcome, text } = yield* ask(offer)
        assert.strictEqual(outcome, "refused")
        assert.include(text, "more than 512 characters")
        assert.isBelow(text!.length, 512)
        assert.deepStrictEqual(done().taken, [])
      })
    )
  }
})
