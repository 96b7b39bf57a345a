/**
 * Goal: the framer of the bus finds the same frames however the bytes arrive, answers for the node
 * only what the node has published, and lets no peer take memory or its link.
 * Method: real streams and malformed frames through the receive side of a lane, cut at every byte;
 * a board that is published, renewed, revoked and left to expire.
 */
import { assert, describe, it } from "@effect/vitest"
import { Board, BoardReader, longestPongBytes } from "../../../src/actors/bus/internal/board.ts"
import framer, { type SessionOptions } from "../../../src/actors/bus/internal/framer.ts"
import { Note, repeatedAt } from "../../../src/actors/bus/internal/framing.ts"
import { FrameRefusal } from "../../../src/native/io/Framer.ts"
import { Reassembly } from "../../../src/native/io/internal/reassembly.ts"
import { bytesOf, frame, hexOf, malformed, streams } from "../../schema/bus/vectors.ts"

const boardFor = (ids: number, waitingBytes = 65_536): Board =>
  new Board(ids, waitingBytes, process.hrtime.bigint)

const strangers = boardFor(4)

const limits = { maxFrameBytes: 1_048_576, maxUnprovenBytes: 65_536 }

/** The receive side of a link: what its user gets, what its peer gets, and what ended it. */
const link = (board: Board = strangers, options: Partial<SessionOptions> = {}) => {
  const frames: Array<string> = []
  const written: Array<string> = []
  /** Of each full frame, whether it repeats the description of its sender. */
  const repeated: Array<boolean> = []
  const session = framer.open(
    {
      initiator: false,
      write: (bytes) => void written.push(hexOf(bytes)),
      writeNow: () => assert.fail("it only answers"),
      deliver: (bytes) => reassembly.deliver(bytes),
      region: () => undefined,
      now: () => process.hrtime.bigint(),
      refuse: () => assert.fail("it throws what it refuses")
    },
    { ...limits, board: board.memory, ...options }
  )
  const reassembly = new Reassembly(session, framer.maxFrameBytes, {
    frames: (bytes, from, ends, count) => {
      for (let k = 0; k < count; k++) {
        const frame = Buffer.from(bytes.subarray(k === 0 ? from : ends[k - 1]!, ends[k]))
        if (frame.length > repeatedAt) repeated.push(frame[repeatedAt] === 1)
        if (frame.length > repeatedAt) frame[repeatedAt] = 0
        frames.push(hexOf(frame))
      }
    }
  })
  /** Reads until something is refused; returns why. */
  const read = (...chunks: ReadonlyArray<Uint8Array>): string | undefined => {
    try {
      for (const chunk of chunks) reassembly.read(Uint8Array.from(chunk), 0, chunk.length)
    } catch (error) {
      assert.instanceOf(error, FrameRefusal)
      return (error as FrameRefusal).message
    }
    return undefined
  }
  return { frames, repeated, written, read, cutBytes: () => reassembly.cutBytes }
}

const cutBy = (bytes: Uint8Array, step: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / step) }, (_, k) =>
    bytes.subarray(k * step, (k + 1) * step)
  )

describe("the frames of a stream", () => {
  it.each(streams)("are found at every split: $name", ({ frames, hex }) => {
    const bytes = bytesOf(hex)
    let at = 0
    const expected = frames.map(({ len }) => hexOf(bytes.subarray(at, (at += len))))
    for (let split = 0; split <= bytes.length; split++) {
      const { frames, read } = link()
      assert.isUndefined(read(bytes.subarray(0, split), bytes.subarray(split)))
      assert.deepStrictEqual(frames, expected, `split at ${split}`)
    }
    for (const step of [1, 2, 13, 14, 15, 2_255, 2_257]) {
      const { frames, read } = link()
      assert.isUndefined(read(...cutBy(bytes, step)))
      assert.deepStrictEqual(frames, expected, `${step} bytes at a time`)
    }
  })

  it("D4: are handed over before garbage is refused, however they are cut", () => {
    const ping = frame("redis7/MEET")
    const good = [ping, frame("redis7/PUBLISH"), frame("valkey/PUBLISH")]
    const garbage = Buffer.from("R garbage in twenty bytes")
    const bytes = Buffer.concat([...good, garbage])
    for (let step = 1; step <= bytes.length; step += 7) {
      const { frames, read } = link()
      assert.isDefined(read(...cutBy(bytes, step)))
      assert.deepStrictEqual(frames, good.map(hexOf), `${step} bytes at a time`)
    }
  })

  it("D15: are handed over when the peer ends in the middle of the next", () => {
    const fail = frame("valkey/FAIL")
    const { cutBytes, frames, read } = link()
    assert.isUndefined(read(fail, fail.subarray(0, 100)))
    assert.deepStrictEqual(frames, [hexOf(fail)])
    assert.strictEqual(cutBytes(), 100)
  })
})

describe("a stream that is none", () => {
  it.each(malformed.filter(({ require }) => require.startsWith("close")))(
    "is refused: $name",
    ({ hex }) => {
      const bytes = bytesOf(hex)
      for (const step of [1, 14, bytes.length]) {
        const { frames, read } = link()
        assert.isDefined(read(...cutBy(bytes, step)))
        assert.deepStrictEqual(frames, [])
      }
    }
  )

  it.each(
    malformed.filter(
      ({ name, require }) => !/^(close|light)/.test(require) && !name.startsWith("light")
    )
  )("is none for a frame that only its reader drops: $name", ({ hex }) => {
    const { read } = link()
    assert.isUndefined(read(bytesOf(hex)))
  })

  it("is refused at the first byte that shows it", () => {
    const { cutBytes, read } = link()
    assert.isDefined(read(Uint8Array.of(0x52, 0x43, 0x58)))
    assert.strictEqual(cutBytes(), 0)
  })

  it("D8: takes no memory for a length that it only announces", () => {
    const head = Buffer.from(frame("redis7/PUBLISH").subarray(0, 100))
    for (const length of [65_537, 524_288_000, 0xffff_ffff]) {
      head.writeUInt32BE(length, 4)
      const { cutBytes, read } = link()
      assert.match(read(head) ?? "", /at most 65536/)
      assert.strictEqual(cutBytes(), 0)
    }
  })
})

const ping = frame("valkey/PING no gossip")
const extended = frame("valkey/PONG on client->server direction (broadcast pong)")
const plain = frame("redis7/PONG gossip>=3 with exts")
const pong = { plain, extended }
const sender = Buffer.from(ping.subarray(40, 80)).toString()
const minute = 60_000

/** A board on which the sender of `ping` is admitted, among others. */
const admitting = (): Board => {
  const board = boardFor(16)
  const others = ["0", "3", "7", "c", "f"].map((digit) => digit.repeat(40))
  board.publish([...others, sender].toSorted(), pong)
  board.renew(minute, minute)
  return board
}

const answered = [hexOf(Note.answered), hexOf(ping)]

describe("a PING", () => {
  it("D27: of an admitted node is answered where it was read, and handed over", () => {
    const { frames, read, written } = link(admitting())
    assert.isUndefined(read(ping, ping))
    assert.deepStrictEqual(written, [hexOf(extended), hexOf(extended)])
    assert.deepStrictEqual(frames, [...answered, ...answered])
  })

  it("is answered without extensions if its sender does not announce that it takes them", () => {
    const silent = frame("redis7/PING from primary with slots+exts").slice(0, 2256)
    new DataView(silent.buffer).setUint32(4, silent.length)
    silent.fill(0, 14, 16)
    silent.fill(0, 2214, 2216)
    silent[2253] = 0
    const board = boardFor(1)
    board.publish([Buffer.from(silent.subarray(40, 80)).toString()], pong)
    board.renew(minute, minute)
    const { read, written } = link(board)
    assert.isUndefined(read(silent))
    assert.deepStrictEqual(written, [hexOf(plain)])
  })

  it("G4: of a stranger is left to the node", () => {
    const { frames, read, written } = link()
    assert.isUndefined(read(ping))
    assert.deepStrictEqual(written, [])
    assert.deepStrictEqual(frames, [hexOf(ping)])
  })

  it("is left to the node, which drops it, when it is malformed", () => {
    const bad = Uint8Array.from(ping)
    bad[15] = 9
    const { read, written } = link(admitting())
    assert.isUndefined(read(bad))
    assert.deepStrictEqual(written, [])
  })

  it("G7: is not answered after the board was revoked, nor after its time", () => {
    const board = admitting()
    const { read, written } = link(board)
    board.revoke()
    assert.isUndefined(read(ping))
    board.renew(0, minute)
    assert.isUndefined(read(ping))
    assert.deepStrictEqual(written, [])
    board.renew(minute, minute)
    assert.isUndefined(read(ping))
    assert.deepStrictEqual(written, [hexOf(extended)])
  })

  it("G7: is answered by what was published last, to those who were published last", () => {
    const board = admitting()
    const { read, written } = link(board)
    assert.isUndefined(read(ping))
    const other = frame("valkey/PONG all six exts")
    board.publish([sender], { plain, extended: other })
    assert.isUndefined(read(ping))
    board.publish([], { plain, extended: other })
    assert.isUndefined(read(ping))
    assert.deepStrictEqual(written, [hexOf(extended), hexOf(other)])
  })

  it("is not answered by a PONG that does not fit on the board", () => {
    const board = admitting()
    board.publish([sender], { plain, extended: new Uint8Array(longestPongBytes + 1) })
    const { read, written } = link(board)
    assert.isUndefined(read(ping))
    assert.deepStrictEqual(written, [])
  })
})

describe("the description of a sender", () => {
  it("is told to be that of the frame before on the link, and never by the sender", () => {
    const { read, repeated } = link(admitting())
    const lying = Uint8Array.from(ping)
    lying[repeatedAt] = 1
    const other = Uint8Array.from(ping)
    other[2_250]! ^= 0x80
    const moved = Uint8Array.from(ping)
    moved[39] = 9
    for (const frame of [lying, ping, moved, other, other, ping]) assert.isUndefined(read(frame))
    assert.deepStrictEqual(repeated, [false, true, true, false, true, false])
  })
})

describe("the board", () => {
  it("finds each id that was published, and no other", () => {
    const ids = Array.from({ length: 100 }, (_, k) => (2 * k + 1).toString(16).padStart(40, "0"))
    const board = boardFor(100)
    const reader = new BoardReader(board.memory, process.hrtime.bigint)
    for (const count of [0, 1, 2, 99, 100]) {
      board.publish(ids.slice(0, count), pong)
      for (let k = 0; k <= 201; k++) {
        const id = Buffer.from(k.toString(16).padStart(40, "0"))
        assert.strictEqual(reader.admits(id), k % 2 === 1 && k < 2 * count, `${k} of ${count}`)
      }
    }
  })

  it("tells nothing while a publication is being written", () => {
    const board = admitting()
    const words = new Int32Array(board.memory)
    const reader = new BoardReader(board.memory, process.hrtime.bigint)
    Atomics.add(words, 0, 1)
    assert.isUndefined(reader.pong(true))
    assert.isFalse(reader.admits(Buffer.from(sender)))
    Atomics.add(words, 0, 1)
    assert.isDefined(reader.pong(true))
    assert.isTrue(reader.admits(Buffer.from(sender)))
  })
})

describe("a main thread that is busy (D27, G7)", () => {
  const publication = frame("valkey/PUBLISH")
  const busy = (): Board => {
    const board = admitting()
    board.renew(minute, 0)
    return board
  }

  it("gets a bounded number of bytes, while every PING is answered", () => {
    const { frames, read, written } = link(busy())
    for (let k = 0; k < 1_000; k++) assert.isUndefined(read(ping, publication))
    assert.strictEqual(written.length, 1_000)
    const waiting = frames.reduce((sum, text) => sum + text.length / 2, 0)
    assert.isAbove(waiting, 32_768)
    assert.isAtMost(waiting, 65_536 + 16 * 2_500)
  })

  it("is told how many publications it has missed once it is back, before the next frame", () => {
    const board = busy()
    const { frames, read } = link(board)
    assert.isUndefined(read(ping))
    for (let k = 0; k < 1_000; k++) assert.isUndefined(read(publication))
    const kept = frames.filter((text) => text === hexOf(publication)).length
    board.renew(minute, minute)
    const before = frames.length
    assert.isUndefined(read(ping))
    assert.deepStrictEqual(frames.slice(before), [hexOf(Note.missed(1_000 - kept)), ...answered])
    assert.strictEqual(Note.missedBy(Note.missed(1_000 - kept), 0), 1_000 - kept)
    assert.isUndefined(read(publication))
    assert.strictEqual(frames.at(-1), hexOf(publication))
  })

  it("gets no more from strangers than there is room for, and all that members say once", () => {
    const board = busy()
    const stranger = link(board)
    const meet = frame("redis7/MEET")
    for (let k = 0; k < 1_000; k++) assert.isUndefined(stranger.read(meet))
    assert.isAtMost(stranger.frames.length, 64)
    const known = link(board)
    const fail = Uint8Array.from(frame("valkey/FAIL"))
    fail.set(Buffer.from(sender), 40)
    for (let k = 0; k < 10; k++) assert.isUndefined(known.read(fail))
    assert.strictEqual(known.frames.length, 10)
  })

  it("misses nothing while it is at work", () => {
    const { frames, read } = link(admitting())
    assert.isUndefined(read(ping))
    for (let k = 0; k < 1_000; k++) assert.isUndefined(read(publication))
    assert.strictEqual(frames.length, 2 + 1_000)
  })
})

describe("a publication that is too long", () => {
  const long = (name: string, length: number): Uint8Array => {
    const bytes = Buffer.concat([frame(name), Buffer.alloc(length)]).subarray(0, length)
    bytes.writeUInt32BE(length, 4)
    return bytes
  }
  const length = limits.maxFrameBytes + 1

  it.each(["valkey/PUBLISH", "valkey/PUBLISHSHARD", "valkey/MODULE", "redis7/PUBLISH"])(
    "G18: is skipped as it flows from an admitted node: %s",
    (name) => {
      const { cutBytes, frames, read } = link(admitting())
      assert.isUndefined(read(ping))
      for (const chunk of cutBy(long(name, length), 100_001)) {
        assert.isUndefined(read(chunk))
        assert.isAtMost(cutBytes(), 64)
      }
      assert.isUndefined(read(ping))
      const flowing = Array.from({ length: 10 }, () => hexOf(Note.flowing))
      const skipped = [...flowing, hexOf(Note.skipped(length))]
      assert.deepStrictEqual(frames, [...answered, ...skipped, ...answered])
    }
  )

  it("G18: is refused from anybody else, and as a heartbeat from an admitted node, too", () => {
    const stranger = link()
    assert.isUndefined(stranger.read(ping))
    assert.isDefined(stranger.read(long("valkey/PUBLISH", length)))
    const known = link(admitting())
    assert.isUndefined(known.read(ping))
    assert.match(known.read(long("redis7/MEET", length)) ?? "", /at most 1048576/)
  })

  it("is taken up to the limit, from an admitted node only", () => {
    const whole = long("valkey/PUBLISH", limits.maxFrameBytes)
    const known = link(admitting())
    assert.isUndefined(known.read(ping, whole))
    assert.strictEqual(known.frames.length, 3)
    const stranger = link()
    assert.isUndefined(stranger.read(ping))
    assert.match(stranger.read(whole) ?? "", /at most 65536/)
  })
})
