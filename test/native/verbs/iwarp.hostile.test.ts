/**
 * Goal: whatever a peer sends, it gets the right Terminate or its connection is closed; memory
 * that it may not touch stays as it is, and other connections do not notice.
 * Method: a raw peer over a real socket violates each rule once against a provider whose sockets
 * live in a worker; beside it two ordinary ends go on exchanging messages.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Crc32c from "../../../src/schema/iwarp/Crc32c.ts"
import type { Message } from "../../../src/schema/iwarp/Message.ts"
import { encode } from "../../../src/schema/iwarp/MessageCodec.ts"
import { Cause } from "../../../src/schema/iwarp/Terminate.ts"
import { CompletionBatch } from "../../../src/native/verbs/Completion.ts"
import { crc, type RawPeer } from "./rawPeer.ts"
import { attack, bystanders, isUntouched, type Keys, Loopback } from "./targets.ts"

const eight = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const empty = new Uint8Array(0)

const write = (stag: number, to: number | bigint, payload = eight): Message => ({
  _tag: "Write",
  last: 1,
  stag,
  to: BigInt(to),
  payload
})
const send = (msn: number, payload = eight, rest: Partial<Message> = {}): Message =>
  ({ _tag: "Send", last: 1, solicited: 0, msn, mo: 0, payload, ...rest }) as Message
const read = (msn: number, srcStag: number, srcTo: number | bigint, readSize = 8): Message => ({
  _tag: "ReadRequest",
  msn,
  sinkStag: 7,
  sinkTo: 0n,
  readSize,
  srcStag,
  srcTo: BigInt(srcTo)
})
const add = (msn: number, remoteStag: number, remoteTo: number | bigint): Message => ({
  _tag: "FetchAdd",
  msn,
  requestId: 5,
  remoteStag,
  remoteTo: BigInt(remoteTo),
  addData: 1n,
  addMask: 0n
})
const immediate = (msn: number): Message => ({ _tag: "Immediate", solicited: 0, msn, payload: 9n })
const response: Message = { _tag: "ReadResponse", last: 1, stag: 1, to: 0n, payload: eight }
const terminate = (msn: number): Message => ({
  _tag: "Terminate",
  msn,
  layer: 0,
  etype: 0,
  code: 0
})

/** Changes a byte of an FPDU and makes its CRC right again. */
const forged = (message: Message, at: number, value: number): Uint8Array => {
  const fpdu = encode(message, undefined)
  fpdu[at] = value
  const end = fpdu.length - 4
  new DataView(fpdu.buffer).setUint32(end, Crc32c.ofBytes(fpdu.subarray(0, end)), true)
  return fpdu
}

const damaged = (message: Message): Uint8Array => {
  const fpdu = encode(message, crc)
  fpdu[fpdu.length - 6]! ^= 1
  return fpdu
}

type Frames = ReadonlyArray<Message | Uint8Array>

interface Violation {
  readonly name: string
  /** The Terminate that answers it; none if the peer has closed the stream itself. */
  readonly cause: Cause | undefined
  readonly frames: (keys: Keys) => Frames
  /** Lengths of receives that are posted. */
  readonly posted?: ReadonlyArray<number>
}

const top = 0xffff_ffff_ffff_fffcn

const violations: ReadonlyArray<Violation> = [
  {
    name: "an unknown key",
    cause: Cause.taggedInvalidStag,
    frames: ({ open }) => [write(open.remoteKey ^ 0x10000, open.address)]
  },
  {
    name: "a key of another domain",
    cause: Cause.taggedNotAssociated,
    frames: ({ foreign }) => [write(foreign.remoteKey, foreign.address)]
  },
  {
    name: "no right to write",
    cause: Cause.taggedInvalidStag,
    frames: ({ readOnly }) => [write(readOnly.remoteKey, readOnly.address)]
  },
  {
    name: "one byte below",
    cause: Cause.taggedBounds,
    frames: ({ open }) => [write(open.remoteKey, open.address - 1)]
  },
  {
    name: "one byte beyond",
    cause: Cause.taggedBounds,
    frames: ({ open }) => [write(open.remoteKey, open.address + 57)]
  },
  {
    name: "an offset that wraps",
    cause: Cause.taggedOffsetWraps,
    frames: ({ open }) => [write(open.remoteKey, top)]
  },
  {
    name: "a good write and a bad one",
    cause: Cause.taggedBounds,
    frames: ({ open }) => [
      write(open.remoteKey, open.address, empty),
      write(open.remoteKey, open.address + 60)
    ]
  },
  {
    name: "a response to nothing",
    cause: Cause.unexpectedOpcode,
    frames: () => [response]
  },
  { name: "no receive posted", cause: Cause.noBuffer, frames: () => [send(1)] },
  { name: "no receive for a value", cause: Cause.noBuffer, frames: () => [immediate(1)] },
  {
    name: "longer than the receive",
    cause: Cause.tooLong,
    posted: [7],
    frames: () => [send(1)]
  },
  {
    name: "a sequence number skipped",
    cause: Cause.sequenceRange,
    posted: [8],
    frames: () => [send(2)]
  },
  {
    name: "a gap within a message",
    cause: Cause.invalidMessageOffset,
    posted: [64],
    frames: () => [send(1, eight, { last: 0 }), send(1, eight, { mo: 9 })]
  },
  {
    name: "a queue that is none",
    cause: Cause.invalidQueue,
    posted: [8],
    frames: () => [forged(send(1), 11, 4)]
  },
  {
    name: "an opcode that is none",
    cause: Cause.unexpectedOpcode,
    frames: () => [forged(send(1), 3, 0x4f)]
  },
  {
    name: "another version of DDP",
    cause: Cause.untaggedVersion,
    frames: () => [forged(send(1), 2, 0x40)]
  },
  {
    name: "another version of RDMAP",
    cause: Cause.rdmapVersion,
    frames: () => [forged(send(1), 3, 0x03)]
  },
  {
    name: "a void key taken back",
    cause: Cause.cannotInvalidate,
    posted: [8],
    frames: ({ open }) => [send(1, eight, { invalidateStag: open.remoteKey ^ 0x10000 })]
  },
  {
    name: "a foreign key taken back",
    cause: Cause.cannotInvalidate,
    posted: [8],
    frames: ({ foreign }) => [send(1, eight, { invalidateStag: foreign.remoteKey })]
  },
  {
    name: "a read of an unknown key",
    cause: Cause.invalidStag,
    frames: ({ open }) => [read(1, open.remoteKey ^ 0x10000, open.address)]
  },
  {
    name: "a read without the right",
    cause: Cause.accessRights,
    frames: ({ writeOnly }) => [read(1, writeOnly.remoteKey, writeOnly.address)]
  },
  {
    name: "a read beyond the end",
    cause: Cause.bounds,
    frames: ({ open }) => [read(1, open.remoteKey, open.address, 65)]
  },
  {
    name: "a read that wraps",
    cause: Cause.offsetWraps,
    frames: ({ open }) => [read(1, open.remoteKey, top)]
  },
  {
    name: "a read of a foreign key",
    cause: Cause.notAssociated,
    frames: ({ foreign }) => [read(1, foreign.remoteKey, foreign.address)]
  },
  {
    name: "an atomic operation without the right",
    cause: Cause.accessRights,
    frames: ({ writeOnly }) => [add(1, writeOnly.remoteKey, writeOnly.address)]
  },
  {
    name: "an atomic operation that is not aligned",
    cause: Cause.operation,
    frames: ({ open }) => [add(1, open.remoteKey, open.address + 4)]
  },
  { name: "a bad CRC", cause: Cause.crc, posted: [8], frames: () => [damaged(send(1))] },
  {
    name: "a bad CRC over a header that may not be believed",
    cause: Cause.crc,
    frames: ({ open }) => [damaged(write(open.remoteKey ^ 0x10000, open.address))]
  },
  {
    name: "a length below the header's",
    cause: Cause.framing,
    frames: () => [forged(send(1), 1, 3)]
  },
  { name: "a Terminate", cause: undefined, frames: () => [terminate(1)] },
  { name: "two Terminates", cause: undefined, frames: () => [terminate(1), terminate(2)] },
  {
    name: "half an FPDU, and the end",
    cause: undefined,
    posted: [8],
    frames: () => [encode(send(1), crc).subarray(0, 21)]
  }
]

const bytesOf = (frames: Frames) =>
  frames.map((frame) => (frame instanceof Uint8Array ? frame : encode(frame, crc)))

const causesOf = (peer: RawPeer) =>
  peer.messages.flatMap((message) =>
    message._tag === "Terminate" ? [[message.layer, message.etype, message.code]] : []
  )

/** Numbers below a limit, the same ones for the same seed. */
const randomOf = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 0x1_0000_0000) * below)
  }
}

describe("a hostile peer", () => {
  it.live(
    "gets the right answer to each violation, and nothing else",
    () =>
      Effect.gen(function* () {
        const { device } = yield* Loopback
        const others = yield* bystanders(device)
        for (const { cause, frames, name, posted = [] } of violations) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { connection, peer, target } = yield* attack(device, posted)
              peer.send(...bytesOf(frames(target.keys)))
              if (cause === undefined) peer.socket.end()
              yield* connection.disconnected
              const { isReset } = yield* peer.closed
              const expected = cause === undefined ? [] : [[cause.layer, cause.type, cause.code]]
              assert.deepStrictEqual([causesOf(peer), isReset], [expected, false], name)
              assert.strictEqual(target.queuePair.state, "err", name)
              const { inbox, memory } = target
              assert.isTrue(isUntouched(memory, inbox, posted[0] ?? 0), `${name}: memory`)
              const batch = new CompletionBatch(64)
              assert.strictEqual(target.completions.poll(batch), posted.length, `${name}: ends`)
              yield* others
            })
          )
        }
      }).pipe(
        Effect.scoped,
        Effect.provide(Loopback.layer({ on: "worker", pool: { workers: 1 } }))
      ),
    30_000
  )

  const seed = Number(process.env["SEED"] ?? 20_261_120)

  it.live(
    `that sends damaged messages without CRCs touches only what it was lent (SEED=${seed})`,
    () =>
      Effect.gen(function* () {
        const { device } = yield* Loopback
        const random = randomOf(seed)
        for (let round = 0; round < 200; round++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { connection, peer, target } = yield* attack(device, [64, 64], { crc: false })
              const { open } = target.keys
              const bytes = Buffer.concat(
                [
                  write(open.remoteKey, open.address),
                  send(1),
                  read(1, open.remoteKey, open.address),
                  add(2, open.remoteKey, open.address),
                  write(open.remoteKey, open.address + 8)
                ].map((message) => encode(message, undefined))
              )
              for (let count = 1 + random(6); count > 0; count--) {
                bytes[random(bytes.length)] = random(256)
              }
              peer.send(bytes)
              peer.socket.end()
              yield* connection.disconnected
              const memory = new Uint8Array(target.memory)
              const lent = open.offset
              const isOutside = (at: number): boolean => at < lent || at >= lent + open.length
              assert.isTrue(
                memory.every((byte, at) => byte === 0xee || !isOutside(at)),
                `${round}`
              )
              const inbox = target.inbox.bytes
              assert.isTrue(
                inbox.every((byte, at) => byte === 0xee || at % 128 < 64),
                `${round}`
              )
              assert.strictEqual(target.queuePair.outstandingReceives, 0)
            })
          )
        }
        yield* yield* bystanders(device)
      }).pipe(
        Effect.scoped,
        Effect.provide(Loopback.layer({ crc: false, on: "worker", pool: { workers: 1 } }))
      ),
    30_000
  )
})
