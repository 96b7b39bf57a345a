/**
 * Goal: two ends agree in whatever words they use: both revisions, with and without CRC and ready
 * signal, short FPDUs and long ones. Only an answer lowers the revision. Settings with which no
 * connection is made are refused.
 * Method: ends with different settings connect, send, write and read; floods go both ways at once.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as net from "node:net"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { makeProvider } from "../../../src/native/iwarp/device.ts"
import * as IwarpVerbs from "../../../src/native/iwarp/IwarpVerbs.ts"
import { poolOf, type Settings } from "../../../src/native/iwarp/settings.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { ReceiveRequest, SendRequest } from "../../../src/native/verbs/WorkRequest.ts"
import * as Mpa from "../../../src/schema/iwarp/Mpa.ts"
import * as Negotiation from "../../../src/schema/iwarp/Negotiation.ts"

const access = ["local-write", "remote-write", "remote-read"] as const
const bytes = 1 << 20

const end = Effect.fnUntraced(function* (settings: Settings) {
  const provider = yield* makeProvider(settings)
  const device = yield* provider.open("lo")
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(1024)
  const region = yield* domain.register({ memory: bytes, access })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access })
  const batch = new CompletionBatch(1)
  const next = Effect.gen(function* () {
    yield* completions.ready
    completions.poll(batch)
    const { id, status } = batch.at(0)
    return { id, status }
  })
  return { device, queuePair, region, next }
})

type End = Effect.Success<ReturnType<typeof end>>

const connect = Effect.fnUntraced(function* (a: End, b: End) {
  const listener = yield* b.device.listen({ host: "127.0.0.1" })
  const accepting = yield* listener.take.pipe(
    Effect.flatMap((asked) => asked.accept({ queuePair: b.queuePair })),
    Effect.forkScoped({ startImmediately: true })
  )
  const ab = yield* a.device.connect({ to: listener.address, queuePair: a.queuePair })
  return { ab, ba: yield* Fiber.join(accepting) }
})

const receive = (own: End, id: number) => {
  const request = Object.assign(new ReceiveRequest(), { id })
  request.scatterList.add(own.region, 0, 1000)
  assert.strictEqual(own.queuePair.postReceive(request), "accepted")
}

const post = (own: End, other: End, change: Partial<SendRequest>, length: number) => {
  const request = Object.assign(new SendRequest(), change)
  request.scatterList.add(own.region, 0, length)
  request.remote(other.region.remoteKey, other.region.address)
  assert.strictEqual(own.queuePair.post(request), "accepted")
}

const pool = IoPool.layer(poolOf({ workers: 1 }))

const words: ReadonlyArray<readonly [string, Settings, Settings]> = [
  ["one wants CRCs", { crc: true }, { crc: false }],
  ["the other wants CRCs", { crc: false }, { crc: true }],
  ["nobody wants CRCs", { crc: false }, { crc: false }],
  ["no ready signal", { peerToPeer: false }, {}],
  ["short FPDUs", { segmentBytes: 1448 }, { segmentBytes: 1448 }],
  ["short FPDUs one way, on different threads", { segmentBytes: 536 }, { on: "main" }],
  ["revision 1", { revision: 1 }, {}]
]

describe("two ends", () => {
  for (const [what, ours, theirs] of words) {
    it.live(`agree: ${what}`, () =>
      Effect.gen(function* () {
        const [a, b] = [yield* end(ours), yield* end(theirs)]
        for (const own of [a, b]) receive(own, 1)
        const { ab } = yield* connect(a, b)
        a.region.bytes.fill(5, 0, 200_000)
        post(a, b, { id: 2, opcode: "write" }, 200_000)
        post(a, b, { id: 3 }, 1000)
        for (const id of [2, 3]) assert.deepStrictEqual(yield* a.next, { id, status: "success" })
        assert.deepStrictEqual(yield* b.next, { id: 1, status: "success" })
        assert.isTrue(b.region.bytes.subarray(0, 200_000).every((byte) => byte === 5))
        post(b, a, { id: 4 }, 1000)
        assert.deepStrictEqual(yield* b.next, { id: 4, status: "success" })
        assert.deepStrictEqual(yield* a.next, { id: 1, status: "success" })
        post(b, a, { id: 5, opcode: "read" }, 100_000)
        // In revision 1 nobody says how many reads may be under way, so there are none.
        const status = ours.revision === 1 ? "local-operation" : "success"
        assert.deepStrictEqual(yield* b.next, { id: 5, status })
        assert.strictEqual(ab.inboundReads, 16)
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  }

  for (const [outboundReads, status] of [
    [0, "local-operation"],
    [1, "success"],
    [undefined, "success"]
  ] as const) {
    it.live(`have ${outboundReads} reads under way at most, out of band`, () =>
      Effect.gen(function* () {
        const [a, b] = [yield* end({}), yield* end({})]
        for (const [own, other] of [
          [a, b],
          [b, a]
        ] as const) {
          const { gids, lid } = yield* other.device.port()
          const path = { gid: gids[0]!.gid, lid }
          const { queuePair } = own
          yield* queuePair.modify({ to: "rtr", path, mtu: 1024, peer: other.queuePair.number })
          yield* queuePair.modify({ to: "rts", outboundReads })
        }
        for (let id = 0; id < 20; id++) post(a, b, { id, opcode: "read" }, 1000)
        assert.deepStrictEqual(yield* a.next, { id: 0, status })
        for (let id = 1; id < 20; id++) {
          const rest = status === "success" ? status : "flushed"
          assert.deepStrictEqual(yield* a.next, { id, status: rest })
        }
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  }

  for (const on of ["main", "worker"] as const) {
    it.live(`flood each other with writes and reads, sockets on ${on}`, () =>
      Effect.gen(function* () {
        const [a, b] = [yield* end({ on }), yield* end({ on })]
        yield* connect(a, b)
        for (const [own, other] of [
          [a, b],
          [b, a]
        ] as const) {
          for (let id = 0; id < 60; id++) {
            post(own, other, { id, opcode: id % 2 === 0 ? "write" : "read" }, bytes)
          }
        }
        for (const own of [a, b]) {
          for (let id = 0; id < 60; id++) {
            assert.deepStrictEqual(yield* own.next, { id, status: "success" })
          }
        }
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  }

  for (const crc of [true, false]) {
    it.live(`stay apart once a key is taken back: nothing is written after that; CRC ${crc}`, () =>
      Effect.gen(function* () {
        const [a, b] = [yield* end({ crc }), yield* end({ crc })]
        const { ba } = yield* connect(a, b)
        a.region.bytes.fill(9)
        for (let id = 0; id < 200; id++) post(a, b, { id, opcode: "write" }, bytes)
        while (b.region.bytes[0] !== 9) yield* Effect.sleep("1 millis")
        const start = performance.now()
        yield* b.region.revoke
        assert.isBelow(performance.now() - start, 1_000)
        b.region.bytes.fill(0xee)
        yield* ba.disconnected
        assert.isTrue(b.region.bytes.every((byte) => byte === 0xee))
        assert.strictEqual(b.queuePair.state, "err")
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  }

  for (const [opcode, crc] of [
    ["read", true],
    // Without CRCs the kernel puts payload straight into the region.
    ["write", false]
  ] as const) {
    it.live(`stay apart once a queue pair is in err: memory belongs to its owner; ${opcode}s`, () =>
      Effect.gen(function* () {
        for (let round = 0; round < 10; round++) {
          const [a, b] = [yield* end({ crc }), yield* end({ crc })]
          const { ab } = yield* connect(a, b)
          a.region.bytes.fill(9)
          const [own, other] = opcode === "read" ? [b, a] : [a, b]
          for (let id = 0; id < 100; id++) post(own, other, { id, opcode }, bytes)
          while (b.region.bytes[0] !== 9) yield* Effect.yieldNow
          yield* b.queuePair.modify({ to: "err" })
          assert.strictEqual(b.queuePair.outstandingSends, 0)
          b.region.bytes.fill(0xee)
          yield* ab.disconnected
          assert.isTrue(b.region.bytes.every((byte) => byte === 0xee))
        }
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  }
})

/** A server of raw sockets; `served` gets each connection. */
const rawServer = Effect.fnUntraced(function* (served: (socket: net.Socket) => void) {
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      net.createServer((socket) => {
        socket.on("error", () => {})
        served(socket)
      })
    ),
    (server) => Effect.sync(() => server.close())
  )
  yield* Effect.callback<void>((resume) => {
    server.listen(0, "127.0.0.1", () => resume(Effect.void))
  })
  const address = server.address()
  return { host: "127.0.0.1", port: typeof address === "object" ? (address?.port ?? 0) : 0 }
})

const requestOf = (bytes: Uint8Array) => {
  const reader = new Mpa.MpaReader("request")
  reader.push(bytes, 0, bytes.length)
  return reader.frame!
}

/** Bytes of a message without payload, with its CRC: an empty write, and an empty send. */
const [emptyWrite, emptySend] = [20, 24]

describe("a peer that does not listen at once", () => {
  for (const peerToPeer of [true, false]) {
    const start = peerToPeer ? "a signal and a message" : "a message"
    it.live(`is told again that this side is ready, after ${start}`, () =>
      Effect.gen(function* () {
        const heard: Array<Uint8Array> = []
        const to = yield* rawServer((socket) => {
          socket.once("data", (bytes) => {
            const request = requestOf(bytes)
            socket.write(Mpa.encode(Negotiation.respond(request, wishes).reply))
            socket.on("data", (more) => heard.push(more))
          })
        })
        const a = yield* end({ peerToPeer })
        yield* a.device.connect({ to, queuePair: a.queuePair })
        post(a, a, { id: 1 }, 0)
        const first = emptySend + (peerToPeer ? emptyWrite : 0)
        while (Buffer.concat(heard).length < first + 2 * emptyWrite)
          yield* Effect.sleep("10 millis")
        assert.strictEqual(a.queuePair.state, "rts")
      }).pipe(Effect.scoped, Effect.provide(pool))
    )
  }
})

const wishes = { crc: true, ird: 4, ord: 4, privateData: new Uint8Array(0) }

/** A listener that meets each request with `answer`; its address, and the revisions asked for. */
const answering = Effect.fnUntraced(function* (
  answer: (socket: net.Socket, asked: Mpa.MpaFrame) => void
) {
  const revisions: Array<number> = []
  const to = yield* rawServer((socket) => {
    socket.once("data", (bytes) => {
      const frame = requestOf(bytes)
      revisions.push(frame.revision)
      answer(socket, frame)
    })
  })
  return { revisions, to }
})

const older = (asked: Mpa.MpaFrame, reject: boolean): Uint8Array =>
  Mpa.encode({ ...asked, kind: "reply", revision: 1, enhanced: undefined, reject })

describe("a peer of before RFC 6581", () => {
  it.live("L11: is taken at its word when it answers with revision 1", () =>
    Effect.gen(function* () {
      const { revisions, to } = yield* answering((socket, asked) =>
        socket.write(older(asked, false))
      )
      const a = yield* end({})
      const connection = yield* a.device.connect({ to, queuePair: a.queuePair })
      assert.deepStrictEqual([revisions, connection.outboundReads], [[2], 0])
    }).pipe(Effect.scoped, Effect.provide(pool))
  )

  it.live("L11: is asked again when it rejects with revision 1", () =>
    Effect.gen(function* () {
      const { revisions, to } = yield* answering((socket, asked) =>
        socket.write(older(asked, asked.revision > 1))
      )
      const a = yield* end({})
      const connection = yield* a.device.connect({ to, queuePair: a.queuePair })
      assert.deepStrictEqual([revisions, connection.outboundReads], [[2, 1], 0])
    }).pipe(Effect.scoped, Effect.provide(pool))
  )

  it.live("L11: is not assumed when a connection ends without an answer", () =>
    Effect.gen(function* () {
      for (const cut of ["destroy", "resetAndDestroy"] as const) {
        const { revisions, to } = yield* answering((socket) => socket[cut]())
        const a = yield* end({})
        const connecting = a.device.connect({ to, queuePair: a.queuePair })
        const { _tag } = yield* Effect.flip(connecting)
        assert.deepStrictEqual([revisions, _tag], [[2], "Unreachable"])
      }
    }).pipe(Effect.scoped, Effect.provide(pool))
  )
})

describe("a setting of the provider", () => {
  const wrong: ReadonlyArray<Settings> = [
    ...[Number.NaN, -1, 0, Infinity].map((connectWithinMs) => ({ connectWithinMs })),
    ...[Number.NaN, -1, 0].map((callersMax) => ({ callersMax })),
    { answerWithinMs: Infinity },
    { callersPerAddressMax: 0 },
    { segmentBytes: Number.NaN }
  ]
  for (const settings of wrong) {
    const [[setting, value] = []] = Object.entries(settings)
    it.effect(`C: is refused by name out of its range: ${setting} of ${value}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(IwarpVerbs.layer(settings))))
        assert.propertyVal(error, "_tag", "SettingsRefused")
        assert.include(error.message, `${setting} is ${value}: it must be`)
      })
    )
  }
})
