/**
 * Goal: a peer that knows only the specification, and breaks it, costs one connection in bounded
 * time: other connections go on, memory stays as it was, and lanes and jobs are back to the start.
 * Method: peers at a listener and at the out-of-band port, from an encoder of their own;
 * beside them two ordinary ends exchange messages.
 */
import type * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { IoPool } from "../../../src/native/io/IoPool.ts"
import { makeProvider } from "../../../src/native/iwarp/device.ts"
import { poolOf } from "../../../src/native/iwarp/settings.ts"
import { ReceiveRequest } from "../../../src/native/verbs/WorkRequest.ts"
import { tlsOf } from "../io/harness.ts"
import * as spec from "./specification.ts"
import { bystanders } from "./targets.ts"

const access = ["local-write", "remote-write", "remote-read", "remote-atomic"] as const
const timing = { on: "worker", requestWithinMs: 1_500, connectWithinMs: 3_000 } as const

/** What connections run over: TCP as it is, or TLS of which the peer has a certificate too. */
interface Below {
  readonly settings: Parameters<typeof makeProvider>[0]
  readonly secured?: tls.ConnectionOptions
}

const plain: Below = { settings: timing }
const { verify: _, ...secured } = tlsOf("client")
const overTls: Below = {
  settings: { ...timing, tls: { listen: tlsOf("server"), connect: tlsOf("client") } },
  secured: secured as tls.ConnectionOptions
}
/** No end of a connection takes longer than the time for a request, an answer and a close. */
const bound = "30 seconds"
const lentBytes = 2 ** 31
/** MiB that the process may have grown by: a few windows of 2 MiB, and what the runtime takes. */
const growth = 192

interface Target {
  readonly key: number
  readonly address: number
}

interface Hostile {
  readonly name: string
  /** What is sent before the reply. */
  readonly start?: Uint8Array
  /** What is sent once the connection is there. */
  readonly attack?: (target: Target) => ReadonlyArray<Uint8Array>
  /** The peer reads nothing, and leaves by itself. */
  readonly leaves?: boolean
}

const eight = Buffer.alloc(8, 7)
const times = <A>(count: number, make: (index: number) => A): Array<A> =>
  Array.from({ length: count }, (_, index) => make(index))

const atomic = (operation: number, key: number, offset: bigint): Buffer => {
  const header = Buffer.alloc(52)
  header.writeUInt32BE(operation, 0)
  header.writeUInt32BE(1, 4)
  header.writeUInt32BE(key, 8)
  header.writeBigUInt64BE(offset, 12)
  return spec.untagged(10, 1, 1, 0, header)
}

const strangers: ReadonlyArray<Hostile> = [
  { name: "a reply in place of a request", start: spec.start({ key: spec.key.reply }) },
  { name: "65,535 bytes of private data", start: spec.start({ length: 0xffff }) },
  { name: "less private data than the enhanced prefix", start: spec.start({ length: 2 }) },
  { name: "a request that never ends", start: spec.start().subarray(0, 19) },
  { name: "FPDUs of length 0", attack: () => times(9, () => spec.fpdu(Buffer.alloc(0))) },
  {
    name: "a long FPDU that stops in its payload",
    attack: ({ address, key }) => [spec.fpdu(spec.tagged(0, key, address, eight), 64_000)],
    leaves: true
  },
  {
    name: "more reads than were agreed",
    attack: ({ address, key }) => times(200, (n) => spec.fpdu(spec.read(n + 1, 8, key, address)))
  },
  {
    name: "128 reads of 2 GiB whose answers it does not take",
    start: spec.start({ privateData: spec.enhanced(4, 128) }),
    attack: ({ address, key }) =>
      times(128, (n) => spec.fpdu(spec.read(n + 1, lentBytes, key, address))),
    leaves: true
  },
  {
    name: "a message offset that wraps",
    attack: () => [spec.fpdu(spec.untagged(3, 0, 1, 0xffff_fff8, eight))]
  },
  {
    name: "a Terminate that is shorter than it says",
    attack: () => [spec.fpdu(spec.untagged(7, 2, 1, 0, Buffer.of(0x01, 0x01, 0xe0, 0)))]
  },
  {
    name: "an atomic operation that there is not",
    attack: ({ address, key }) => [spec.fpdu(atomic(15, key, BigInt(address + 1024)))]
  },
  {
    name: "a stream of empty writes, then a tag that is none",
    attack: ({ key }) => [
      ...times(1_000, () => spec.fpdu(spec.tagged(0, 1, 0))),
      spec.fpdu(spec.tagged(0, key ^ 0x5555, 0, eight))
    ]
  }
]

/** A segment with another first byte (tagged, last, version) or second (version, opcode). */
const changed = (ulpdu: Buffer, byte: 0 | 1, value: number): Buffer => {
  const copy = Buffer.from(ulpdu)
  copy[byte] = value
  return spec.fpdu(copy)
}

const zeros = Buffer.alloc(8)
/** A segment that does not end its message: the last flag is clear. */
const more = 0x01

const later: ReadonlyArray<Hostile> = [
  { name: "a revision that there is not yet", start: spec.start({ revision: 3 }) },
  { name: "an FPDU behind its request", start: Buffer.concat([spec.start(), spec.first]) },
  {
    name: "another version of DDP",
    attack: () => [changed(spec.untagged(3, 0, 1, 0, zeros), 0, 0x42)]
  },
  {
    name: "another version of RDMAP",
    attack: () => [changed(spec.untagged(3, 0, 1, 0, zeros), 1, 0x83)]
  },
  {
    name: "a Send on the queue of requests",
    attack: () => [spec.fpdu(spec.untagged(3, 1, 1, 0, zeros))]
  },
  {
    name: "a Send on a queue that there is not",
    attack: () => [spec.fpdu(spec.untagged(3, 0xffff_ffff, 1, 0, zeros))]
  },
  {
    name: "a Send that leaves out a number",
    attack: () => [spec.fpdu(spec.untagged(3, 0, 2, 0, zeros))]
  },
  {
    name: "a Send of a thousand empty segments, then one too long",
    attack: () => [
      ...times(1_000, () => changed(spec.untagged(3, 0, 1, 0), 0, more)),
      changed(spec.untagged(3, 0, 1, 0, Buffer.alloc(65)), 0, more)
    ]
  },
  {
    name: "a response to a read that this side did not ask for",
    attack: ({ address, key }) => [spec.fpdu(spec.tagged(2, key, address, eight))]
  },
  {
    name: "a write whose end is beyond 2^64",
    attack: ({ key }) => [spec.fpdu(spec.tagged(0, key, 0xffff_ffff_ffff_fffcn, eight))]
  },
  {
    name: "a write that leaves its region by a byte",
    attack: ({ address, key }) => [spec.fpdu(spec.tagged(0, key, address + lentBytes - 7, eight))]
  },
  {
    name: "a read of what lies before its region",
    attack: ({ address, key }) => [spec.fpdu(spec.read(1, 8, key, address - 4))]
  },
  {
    name: "a CRC that is not its own",
    attack: ({ address, key }) => {
      const bytes = spec.fpdu(spec.tagged(0, key, address, zeros))
      bytes[bytes.length - 1]! ^= 1
      return [bytes]
    }
  }
]

/** A device, with two ends that talk, and the counts that must come back. */
const setting = Effect.fnUntraced(function* (below: Below) {
  const pool = yield* IoPool
  const device = yield* (yield* makeProvider(below.settings)).open("lo")
  // They share the worker, not the short times in which a stranger is let go.
  const talk = yield* bystanders(yield* (yield* makeProvider({ on: "worker" })).open("lo"))
  yield* talk
  const { lanes } = yield* pool.stats
  const isBack = pool.stats.pipe(
    Effect.repeat({
      until: (stats) => stats.lanes === lanes && stats.jobsOut === 0,
      schedule: Schedule.spaced("5 millis")
    })
  )
  return { below, device, isBack, talk }
})

const stranger = (port: number, { secured }: Below) =>
  Effect.acquireRelease(
    Effect.sync(() => new spec.Stranger(port, secured)),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const meet = Effect.fnUntraced(function* (
  { below, device, talk }: Effect.Success<ReturnType<typeof setting>>,
  memory: SharedArrayBuffer,
  hostile: Hostile
) {
  const domain = yield* device.protectionDomain
  const completions = yield* device.completionQueue(16)
  const lent = yield* domain.register({ memory, access })
  const inbox = yield* domain.register({ memory: 64 })
  const queuePair = yield* domain.queuePair({ sendCompletions: completions })
  yield* queuePair.modify({ to: "init", access })
  const receive = new ReceiveRequest()
  receive.scatterList.add(inbox)
  queuePair.postReceive(receive)
  const listener = yield* device.listen({ host: "127.0.0.1" })
  yield* listener.take.pipe(
    Effect.flatMap((asked) => asked.accept({ queuePair, inboundReads: 128 })),
    Effect.forkScoped({ startImmediately: true })
  )
  const peer = yield* stranger(listener.address.port, below)
  peer.say(hostile.start ?? spec.start())
  if (hostile.attack !== undefined) {
    yield* Effect.promise(() => peer.hear(20))
    assert.strictEqual(peer.heard.subarray(0, 16).toString("latin1"), spec.key.reply)
    if (hostile.leaves === true) peer.socket.pause()
    peer.say(spec.first, ...hostile.attack({ key: lent.remoteKey, address: lent.address }))
    for (let messages = 0; messages < 5; messages++) yield* talk
    if (hostile.leaves === true) peer.socket.resetAndDestroy()
  }
  yield* Effect.promise(() => peer.closed)
  assert.isTrue(inbox.bytes.every((byte) => byte === 0))
  if (hostile.attack !== undefined) {
    while (queuePair.state !== "err") yield* Effect.sleep("1 millis")
    assert.strictEqual(queuePair.outstandingReceives, 0)
  }
  yield* talk
})

const provided = Effect.provide(IoPool.layer(poolOf({ workers: 1 })))

describe.for([
  ["TCP", plain],
  ["TLS", overTls]
] as const)("a peer that knows only the specification, over %s", ([, below]) => {
  it.live(
    "ends with its connection, and nothing else does",
    () =>
      Effect.gen(function* () {
        const place = yield* setting(below)
        const memory = new SharedArrayBuffer(lentBytes)
        const before = process.memoryUsage().rss
        for (const hostile of [...strangers, ...later]) {
          const meeting = Effect.andThen(Effect.scoped(meet(place, memory, hostile)), place.isBack)
          yield* meeting.pipe(
            Effect.timeoutOrElse({
              duration: bound,
              orElse: () => Effect.sync(() => assert.fail(`${hostile.name}: not in time`))
            })
          )
          const grown = (process.memoryUsage().rss - before) / 2 ** 20
          assert.isBelow(grown, growth, `${hostile.name}: memory`)
        }
        // Payload before its CRC is undefined, but only where it was for.
        const behind = new Uint8Array(memory, 16, 4096)
        assert.isTrue(behind.every((byte) => byte === 0))
      }).pipe(Effect.scoped, provided),
    120_000
  )

  for (const [name, privateData] of [
    ["whose hello is cut", Buffer.from("HFQP", "latin1")],
    ["whose hello is for no queue pair", Buffer.concat([Buffer.from("HFQP"), Buffer.alloc(26, 9)])],
    ["that has no hello", Buffer.alloc(400, 1)]
  ] as const) {
    it.live(`at the out-of-band port ${name} is turned away`, () =>
      Effect.gen(function* () {
        const { device, isBack, talk } = yield* setting(below)
        const { lid } = yield* device.port()
        const peer = yield* stranger(lid, below)
        const said = Buffer.concat([spec.enhanced(4, 4), privateData])
        peer.say(spec.start({ privateData: said }))
        yield* Effect.promise(() => peer.closed)
        // Rejected: the flag of the reply.
        assert.strictEqual(peer.heard[16]! & 0x20, 0x20)
        yield* isBack
        yield* talk
      }).pipe(Effect.scoped, provided)
    )
  }

  for (const [name, said] of [
    ["that says nothing", Buffer.alloc(0)],
    ["that stops in its request", spec.start().subarray(0, 30)],
    ["whose request is a reply", spec.start({ key: spec.key.reply })],
    ["that goes on before the reply", Buffer.concat([spec.start(), spec.first])]
  ] as const) {
    it.live(`at the out-of-band port ${name} is left in time`, () =>
      Effect.gen(function* () {
        const { device, isBack, talk } = yield* setting(below)
        const peer = yield* stranger((yield* device.port()).lid, below)
        peer.say(said)
        yield* Effect.promise(() => peer.closed)
        yield* isBack
        yield* talk
      }).pipe(Effect.scoped, provided)
    )
  }
})
