/**
 * Goal: endpoints that shake hands over TCP move bytes over software iWARP: in one process, in
 * two, after the other one was killed and begun again (R6), and with a peer that knows no gate; and
 * one that gives up tells the other (R19). Method: all of it is real, on the loopback interface.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  halfOf,
  makeQueuePairs,
  raise
} from "../../../src/actors/endpoint/internal/queuePairSetup.ts"
import { callOf, offerIn } from "../../../src/actors/endpoint/mooncake/internal/codec.ts"
import * as Nic from "../../../src/actors/rdma/Nic.ts"
import type { ReadyLink } from "../../../src/actors/endpoint/ReadyLink.ts"
import * as Endpoint from "../../../src/actors/endpoint/Endpoint.ts"
import * as TcpHandshakes from "../../../src/actors/endpoint/mooncake/TcpHandshakes.ts"
import { Journal } from "../../../src/actors/kernel/Journal.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as IwarpVerbs from "../../../src/native/iwarp/IwarpVerbs.ts"
import type { Epoch } from "../../../src/schema/Epoch.ts"
import * as Body from "../../../src/schema/mooncake/Body.ts"
import * as Wire from "../../../src/schema/mooncake/Handshake.ts"
import * as Child from "../../child.ts"
import { eventually } from "../../eventually.ts"
import { success } from "../../schema/mooncake/vectors.ts"
import { ask, frameIn, pool, tcpHost, type TcpHost, typed } from "./tcp.ts"

const bytes = 1 << 20
const access = ["local-write", "remote-write"] as const

const real = Layer.mergeAll(
  IwarpVerbs.layer({ on: "main", pool: { workers: 0 } }),
  TcpHandshakes.layer(),
  Journal.layerMemory
).pipe(Layer.provideMerge(pool))

const host = tcpHost({ device: "lo" })

interface Target {
  readonly key: number
  readonly address: number
}

/** Writes a region full of one byte, and answers how that ended. */
const write = Effect.fnUntraced(function* (
  { nic }: Pick<TcpHost, "nic">,
  link: ReadyLink,
  { address, key }: Target,
  byte: number
) {
  const source = yield* nic.domain.register({ memory: bytes })
  source.bytes.fill(byte)
  const request = new SendRequest()
  request.opcode = "write"
  request.scatterList.add(source)
  request.remote(key, address)
  assert.strictEqual(link.post(request), "accepted")
  const batch = new CompletionBatch(1)
  while (nic.completions.poll(batch) === 0) yield* nic.completions.ready
  return batch.at(0).status
})

describe("two endpoints in one process", () => {
  it.live("open, get ready, and write to each other", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* host, yield* host]
      for (const [from, to, byte] of [
        [a, b, 7],
        [b, a, 9]
      ] as const) {
        const region = yield* to.nic.domain.register({ memory: bytes, access })
        const link = yield* from.store.open(to.path)
        const target = { key: region.remoteKey, address: region.address }
        assert.strictEqual(yield* write(from, link, target, byte), "success")
        // The completion tells that all has left; that it is there, this machine tells a bit later.
        const isThere = () => region.bytes.every((found) => found === byte)
        yield* eventually("all bytes are there", Effect.sync(isThere))
      }
      const [left, right] = [yield* a.store.stateOf(b.path), yield* b.store.stateOf(a.path)]
      if (left._tag !== "Ready" || right._tag !== "Ready") return assert.fail("not ready")
      assert.deepStrictEqual([left.own, left.peer.half], [right.peer.half, right.own])
    }).pipe(Effect.provide(real))
  )

  it.live("R19 tell each other when one gives up, so the next opening works at once", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* host, yield* host]
      const link = yield* a.store.open(b.path)
      yield* b.store.open(a.path)
      yield* a.store.retire(link, "retired", "nobody needs it")
      const isIdle = Effect.map(b.store.stateOf(a.path), ({ _tag }) => _tag === "Idle")
      yield* eventually("the other one knows", isIdle)
      const again = yield* b.store.open(a.path).pipe(Effect.timeout("2 seconds"))
      assert.isTrue(again.isOpen)
    }).pipe(Effect.provide(real))
  )
})

/** A peer in another process. */
const spawn = (port = 0) =>
  Child.spawn(new URL("../../fixtures/endpointPeer.ts", import.meta.url), String(port))

interface Greeting extends Target {
  readonly path: string
  readonly port: number
}

describe("two endpoints in two processes", () => {
  it.live(
    "write, also after one was killed and has begun again at the same address (R6)",
    () =>
      Effect.gen(function* () {
        const a = yield* host
        let port = 0
        for (const byte of [7, 9]) {
          const child = yield* spawn(port)
          const greeting = yield* Child.next<Greeting>(child)
          port = greeting.port
          const link = yield* a.store.open(greeting.path)
          assert.strictEqual(yield* write(a, link, greeting, byte), "success")
          const hasAll = Effect.gen(function* () {
            child.send(a.path)
            const found = yield* Child.next<Record<string, unknown>>(child)
            assert.strictEqual(found["state"], "Ready")
            return found["first"] === byte && found["same"] === true && found["length"] === bytes
          })
          yield* eventually("all bytes are there", hasAll)
          yield* Child.kill(child)
          yield* a.store.retire(link, "broken", "its process was killed")
        }
      }).pipe(Effect.provide(real)),
    30_000
  )
})

describe("a peer that Mooncake's old form is spoken with", () => {
  it.live("has no gate: who was called may write at once, and sends no acknowledgement", () =>
    Effect.gen(function* () {
      const a = yield* host
      const nic = yield* Nic.open({ path: "127.0.0.1:9@old", device: "lo" })
      const rules = { ...Endpoint.defaults, path: nic.path }
      const queuePairs = yield* makeQueuePairs(nic, rules)
      const made = halfOf(yield* nic.place, queuePairs, "00000000.1" as Epoch)
      const half = { ...made, epoch: undefined, mtu: undefined }
      const offer = { from: nic.path, to: a.path, half, knows: undefined, hasGate: false }
      const text = Body.encode(Wire.toBody(success(callOf({ _tag: "Offer", said: offer }))))
      assert.notInclude(text, "ready_ack")
      assert.notInclude(text, "handfast")
      const frame = frameIn(yield* ask(a.server.port, typed(text)))!
      assert.notInclude(frame.text, "handfast")
      const answer = offerIn(success(Wire.readAnswer(success(Body.decode(frame.text)))))!
      assert.strictEqual((yield* a.store.stateOf(nic.path))._tag, "Ready")
      const link = yield* a.store.open(nic.path)
      yield* raise(yield* nic.place, queuePairs, half, answer.half)
      const region = yield* nic.domain.register({ memory: bytes, access })
      const target = { key: region.remoteKey, address: region.address }
      assert.strictEqual(yield* write(a, link, target, 5), "success")
      const isThere = () => region.bytes.every((found) => found === 5)
      yield* eventually("all bytes are there", Effect.sync(isThere))
    }).pipe(Effect.provide(real))
  )

  it.live("R6 of our own kind is known again by its instance, not by its numbers", () =>
    Effect.gen(function* () {
      const a = yield* host
      const numbers = Effect.fnUntraced(function* (epoch: string) {
        const half = {
          queuePairs: [5, 6],
          gid: (yield* a.nic.place).gid,
          lid: 0,
          epoch: epoch as Epoch,
          mtu: 1024 as const
        }
        const from = "127.0.0.1:9@own"
        const offer = { from, to: a.path, half, knows: undefined, hasGate: true }
        const text = Body.encode(Wire.toBody(success(callOf({ _tag: "Offer", said: offer }))))
        const frame = frameIn(yield* ask(a.server.port, typed(text)))!
        const answer = offerIn(success(Wire.readAnswer(success(Body.decode(frame.text)))))!
        assert.strictEqual(answer.knows, epoch)
        assert.isDefined(answer.half.mtu)
        return answer.half.queuePairs
      })
      const first = yield* numbers("aaaaaaaa.1")
      assert.deepStrictEqual(yield* numbers("aaaaaaaa.1"), first)
      assert.notDeepEqual(yield* numbers("bbbbbbbb.1"), first)
    }).pipe(Effect.provide(real))
  )
})
