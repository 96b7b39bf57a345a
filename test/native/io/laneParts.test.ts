/**
 * Goal: the small pure parts of a lane keep their promises: frames whole and in order whatever
 * the cuts, jobs answered once, one release, budgets, an even hand of load.
 * Method: laws over random and over all small inputs, and planted defects that break them.
 */
import { assert, describe, it } from "@effect/vitest"
import type { FramerSession } from "../../../src/native/io/Framer.ts"
import { acquireBuffer, largestBuffer } from "../../../src/native/io/internal/buffers.ts"
import { CommandReader } from "../../../src/native/io/internal/commandReader.ts"
import type { LaneHandle } from "../../../src/native/io/internal/laneHandle.ts"
import { PendingOperations } from "../../../src/native/io/internal/pendingOperations.ts"
import { calm, sampleLoad } from "../../../src/native/io/internal/loadPolicy.ts"
import { Reassembly } from "../../../src/native/io/internal/reassembly.ts"
import { SendQueue } from "../../../src/native/io/internal/sendQueue.ts"
import { idleLane } from "./idleLane.ts"
import { generator } from "./harness.ts"

/** Frames of a 16-bit length that counts itself. */
const session: FramerSession = {
  length: (bytes, from, to) => (to - from < 2 ? 0 : (bytes[from]! << 8) | bytes[from + 1]!)
}

const frameOf = (length: number, mark: number): Uint8Array => {
  const bytes = new Uint8Array(length).fill(mark)
  bytes[0] = length >> 8
  bytes[1] = length
  return bytes
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array =>
  new Uint8Array(parts.flatMap((part) => [...part]))

/** Feeds a stream cut at the given places; the frames that came out, and the error. */
const feed = (
  stream: Uint8Array,
  cuts: ReadonlyArray<number>,
  maxFrame = 1_000,
  framer = session
): {
  readonly frames: Array<string>
  readonly error: string | undefined
  readonly held: number
} => {
  const frames: Array<string> = []
  const reassembly = new Reassembly(framer, maxFrame, {
    frames: (bytes, from, ends, count) => {
      for (let i = 0, start = from; i < count; i++) {
        frames.push(bytes.slice(start, ends[i]).join())
        start = ends[i] ?? 0
      }
    }
  })
  let from = 0
  try {
    for (const to of [...cuts, stream.length]) {
      // Each read comes in a buffer that is spoilt afterwards.
      const read = stream.slice(from, to)
      reassembly.read(read, 0, read.length)
      read.fill(0xee)
      from = to
    }
    return { frames, error: undefined, held: reassembly.cutBytes }
  } catch (error) {
    return { frames, error: String(error), held: reassembly.cutBytes }
  }
}

describe("reassembly", () => {
  const frames = [frameOf(2, 0), frameOf(3, 1), frameOf(9, 2), frameOf(300, 3), frameOf(2, 4)]
  const stream = join(frames)
  const whole = frames.map((frame) => frame.join())

  it("gives the same frames for every pair of cuts", () => {
    for (let a = 0; a <= stream.length; a++) {
      for (let b = a; b <= Math.min(stream.length, a + 20); b++) {
        assert.deepStrictEqual(feed(stream, [a, b]).frames, whole)
      }
    }
  })

  it("takes one byte at a time, and holds no more than has come", () => {
    const cuts = Array.from({ length: stream.length - 1 }, (_, i) => i + 1)
    assert.deepStrictEqual(feed(stream, cuts).frames, whole)
    assert.strictEqual(feed(stream.subarray(0, 10), []).held, 5)
  })

  it("leaves a cut frame where it was read, moves it, or keeps it: the same frames", () => {
    const random = generator(5)
    for (let round = 0; round < 2_000; round++) {
      const got: Array<string> = []
      let copied = 0
      const memory = new Uint8Array(2 * stream.length)
      const reassembly = new Reassembly(session, 1_000, {
        frames: (bytes, from, ends, count) => {
          for (let i = 0, start = from; i < count; i++) {
            got.push(bytes.slice(start, ends[i]).join())
            start = ends[i] ?? 0
          }
          if (bytes !== memory) copied += count
        }
      })
      let fill = 0
      let keeps = 0
      for (let at = 0; at < stream.length;) {
        const size = Math.min(1 + random(40), stream.length - at)
        memory.set(stream.subarray(at, at + size), fill)
        reassembly.read(memory, fill, fill + size, true)
        at += size
        fill += size
        const dice = random(6)
        if (dice === 0) {
          // The next read goes elsewhere: what lies here is spoilt.
          const elsewhere = fill > stream.length ? 0 : stream.length
          const moved = reassembly.moveCut(memory, elsewhere)
          memory.fill(0xee, elsewhere + moved)
          fill = elsewhere + moved
        } else if (dice === 1) {
          if (reassembly.cutBytes > 0) keeps++
          reassembly.keepCut(memory)
          memory.fill(0xee)
        }
        if (fill + 40 > memory.length) {
          reassembly.keepCut(memory)
          keeps++
          fill = 0
        }
      }
      assert.deepStrictEqual(got, whole)
      assert.isAtMost(copied, keeps)
    }
  })

  it("D4: good frames before garbage come out, then one error, for every cut", () => {
    const garbage = join([...frames, Uint8Array.of(0xff, 0xff, 1, 2, 3)])
    for (let cut = 0; cut <= garbage.length; cut++) {
      const { error, frames } = feed(garbage, [cut], 1_000)
      assert.deepStrictEqual(frames, whole)
      assert.include(error, "length 65535, at most 1000")
    }
    // Planted: a session that judges the whole read before a frame of it is handed over.
    const hasty: FramerSession = {
      length: (bytes, from, to) => {
        if (bytes.subarray(from, to).includes(0xff)) throw new Error("garbage")
        return session.length(bytes, from, to)
      }
    }
    assert.notDeepEqual(feed(garbage, [], 1_000, hasty).frames, whole)
  })

  it("refuses a length of 4 GB before a byte of the frame is stored", () => {
    const huge: FramerSession = { length: () => 0xffff_ffff }
    const { error, held } = feed(new Uint8Array(100), [1], 1_000, huge)
    assert.include(error, "4294967295")
    assert.strictEqual(held, 0)
  })

  it("refuses lengths that are no lengths, and a head that never ends", () => {
    for (const length of [-1, 0.5, Number.NaN]) {
      assert.isDefined(feed(new Uint8Array(10), [], 100, { length: () => length }).error)
    }
    const endless = feed(new Uint8Array(5_000), [10, 20, 500], 1_000, { length: () => 0 })
    assert.include(endless.error, "no frame within 1000 bytes")
    const ends = Array.from({ length: 2_000 }, (_, i) => i + 1)
    assert.isDefined(feed(new Uint8Array(2_001), ends, 1_000, { length: () => 0 }).error)
    // The same head, left where it was read.
    const inPlace = new Reassembly({ length: () => 0 }, 1_000, { frames: () => {} })
    const memory = new Uint8Array(2_000)
    inPlace.read(memory, 0, 1_000, true)
    assert.throws(() => inPlace.read(memory, 1_000, 1_001, true), /no frame within 1000 bytes/)
  })

  it("D19: 100,000 small frames in one read are looked at once each, and not copied", () => {
    const count = 100_000
    const many = new Uint8Array(count * 4)
    for (let i = 0; i < count; i++) many.set([0, 4], i * 4)
    let looks = 0
    const counted: FramerSession = {
      length: (bytes, from, to) => {
        looks++
        return session.length(bytes, from, to)
      }
    }
    let got = 0
    let copied = 0
    const reassembly = new Reassembly(counted, 100, {
      frames: (bytes, _from, _ends, n) => {
        got += n
        if (bytes !== many) copied += n
      }
    })
    reassembly.read(many, 0, many.length)
    assert.deepStrictEqual([got, looks, copied], [count, count, 0])
  })
})

describe("the send queue", () => {
  it("D9: a job takes bytes within its budget; what comes later goes with the next", () => {
    const queue = new SendQueue(false)
    const random = generator(11)
    let next = 0
    let expected = 0
    for (let round = 0; round < 2_000; round++) {
      const size = random(300)
      queue.append(Uint8Array.from({ length: size }, () => next++ & 0xff))
      if (random(2) === 0 || queue.length === 0) continue
      const job = queue.front(250).slice()
      assert.isAtMost(job.length, 250)
      queue.drop(job.length)
      assert.isTrue(job.every((byte) => byte === (expected++ & 0xff)))
    }
    assert.strictEqual(queue.length, next - expected)
  })

  it("takes little memory for few bytes, and gives back what is spent", () => {
    const queue = new SendQueue(false)
    queue.append(new Uint8Array(1_000))
    const { buffer } = queue.front(1)
    assert.strictEqual(buffer.byteLength, 4_096)
    queue.append(new Uint8Array(1_000_000))
    queue.drop(4_096)
    assert.strictEqual(acquireBuffer(1_000).buffer, buffer)
    const long = queue.front(1).buffer
    assert.strictEqual(long.byteLength, largestBuffer)
    queue.drop(largestBuffer)
    assert.strictEqual(acquireBuffer(largestBuffer).buffer, long)
  })

  it("L2: commands come out whole, whatever jobs they are cut into", () => {
    const sizes = [10, 0, 20, 500, 1, 0, 0, 3]
    for (let budget = 1; budget < 600; budget++) {
      const queue = new SendQueue(true)
      for (const size of sizes) queue.append(new Uint8Array(size).fill(size))
      const reader = new CommandReader()
      const got: Array<number> = []
      while (queue.length > 0) {
        const job = queue.front(budget).slice()
        reader.push(job, (bytes, from, to) => {
          assert.isTrue(bytes.subarray(from, to).every((byte) => byte === ((to - from) & 0xff)))
          got.push(to - from)
        })
        queue.drop(job.length)
      }
      assert.deepStrictEqual(got, sizes)
    }
  })
})

describe("the jobs of a lane", () => {
  it("G20: leave room in the queue that others may not take", () => {
    const lane = idleLane({ write: () => false })
    assert.strictEqual(lane.send(new Uint8Array(800), 200), "accepted")
    assert.strictEqual(lane.send(new Uint8Array(1), 200), "full")
    assert.strictEqual(lane.send(new Uint8Array(200)), "accepted")
    assert.strictEqual(lane.send(new Uint8Array(1)), "full")
  })

  /** All sequences of what can happen to a lane, up to a length. */
  const events = ["write", "finish", "wrote", "finished", "close", "end"] as const
  type Event = (typeof events)[number]

  /** Plays a sequence as far as it is possible; how often the lane was released, and when. */
  const play = (jobs: PendingOperations, sequence: ReadonlyArray<Event>) => {
    let releases = 0
    let early = 0
    const came = (release: boolean): void => {
      if (!release) return
      releases++
      if (jobs.pending > 0) early++
    }
    for (const event of sequence) {
      if ((event === "write" || event === "finish") && jobs.canStart(event)) jobs.started(event)
      else if (event === "wrote" && jobs.isWriting) came(jobs.completed("write"))
      else if (event === "finished" && jobs.isFinishing) came(jobs.completed("finish"))
      else if (event === "close") jobs.close()
      else if (event === "end") came(jobs.end())
    }
    if (jobs.isWriting) came(jobs.completed("write"))
    if (jobs.isFinishing) came(jobs.completed("finish"))
    came(jobs.end())
    return { releases, early, out: jobs.pending }
  }

  const sequences = function* (length: number): Generator<ReadonlyArray<Event>> {
    if (length === 0) {
      yield []
      return
    }
    for (const rest of sequences(length - 1)) {
      for (const event of events) yield [event, ...rest]
    }
  }

  it("D13, D18: one release after the last job, for every sequence of six events", () => {
    for (const sequence of sequences(6)) {
      const { early, out, releases } = play(new PendingOperations(), sequence)
      if (releases !== 1 || early !== 0 || out !== 0) assert.fail(sequence.join(" "))
    }
  })

  it("D13: planted: a lane that is released when its socket goes is found", () => {
    class Hasty extends PendingOperations {
      #released = false
      override end(): boolean {
        super.end()
        const first = !this.#released
        this.#released = true
        return first
      }
    }
    const found = [...sequences(3)].some((sequence) => play(new Hasty(), sequence).early > 0)
    assert.isTrue(found)
  })

  /** A driver that records its jobs, and has no room while `full`. */
  const driver = () => {
    const log: Array<string> = []
    const within: (() => void) | undefined = undefined as (() => void) | undefined
    const state = { full: false, log, cores: new Set<LaneHandle>(), within }
    const job = (name: string): boolean => {
      if (!state.full) log.push(name)
      state.within?.()
      return !state.full
    }
    const core = idleLane(
      {
        write: (_core, bytes) => job(`write ${bytes.length}`),
        start: () => job("start"),
        finish: () => job("finish"),
        close: (_core, inOrder) => job(inOrder ? "close" : "abort"),
        flushSoon: (core) => void state.cores.add(core),
        release: () => void log.push("release")
      },
      { writeJobBytes: 100 }
    )
    return { state, core }
  }

  it("D17: a dispatch that finds no room changes nothing", () => {
    const { core, state } = driver()
    core.send(new Uint8Array(150))
    state.full = true
    const before = [core.unsent, core.operations.pending, core.operations.isWriting]
    assert.isFalse(core.flush())
    assert.deepStrictEqual(
      [core.unsent, core.operations.pending, core.operations.isWriting],
      before
    )
    core.finish()
    core.abort()
    assert.deepStrictEqual(state.log, [])
    assert.strictEqual(core.operations.pending, 0)
    state.full = false
    assert.isTrue(core.flush())
    assert.deepStrictEqual(state.log, ["abort"])
  })

  it("D9: a backlog of four budgets takes four jobs, one at a time, then the close", () => {
    const { core, state } = driver()
    core.send(new Uint8Array(400))
    core.close()
    for (let i = 0; i < 4; i++) {
      core.flush()
      core.flush()
      core.written(100)
    }
    assert.deepStrictEqual(state.log, ["write 100", "write 100", "write 100", "write 100", "close"])
    core.ended({ kind: "closed", unsent: 0 })
    assert.strictEqual(state.log.at(-1), "release")
  })

  it("D12: the end of the peer leaves the write that is out its own result", () => {
    const { core, state } = driver()
    core.send(new Uint8Array(50))
    core.flush()
    core.onPeerEnded()
    core.ended({ kind: "peer-closed", missing: 0 })
    assert.deepStrictEqual(state.log, ["write 50"])
    core.written(50)
    assert.strictEqual(core.counts.bytesSent, 50)
    assert.deepStrictEqual(state.log, ["write 50", "release"])
  })

  it("D13: closed twice, aborted, ended twice: one close of each kind, one release", () => {
    const { core, state } = driver()
    core.send(new Uint8Array(10))
    core.flush()
    core.close()
    core.close()
    core.abort()
    core.abort()
    core.ended({ kind: "closed", unsent: 0 })
    core.ended({ kind: "stopped" })
    assert.deepStrictEqual(state.log, ["write 10", "abort"])
    core.written(0)
    assert.deepStrictEqual(state.log, ["write 10", "abort", "release"])
    assert.deepStrictEqual(core.end, { kind: "closed", unsent: 10 })
  })

  it("closed in order, ends at once when its peer does not take what was sent in time", () => {
    const log: Array<string> = []
    const timers: Array<{ readonly millis: number; readonly act: () => void }> = []
    const core = idleLane({
      timers: {
        after: (millis, act) => {
          timers.push({ millis, act })
          return () => {}
        }
      },
      close: (_core, inOrder) => {
        log.push(inOrder ? "close" : "abort")
        return true
      }
    })
    core.send(new Uint8Array(10))
    core.flush()
    core.close()
    core.flush()
    assert.deepStrictEqual(log, [], "the write is out")
    assert.deepStrictEqual(
      timers.map(({ millis }) => millis),
      [1_000]
    )
    timers[0]?.act()
    assert.deepStrictEqual(log, ["abort"])
  })

  it("gives back each received byte once, whoever takes it", () => {
    let given = 0
    const core = idleLane({ consumed: (_core, bytes) => void (given += bytes) })
    const receive = () => core.frames(new Uint8Array(100), Int32Array.of(60, 100), 0, 2, 0)
    receive()
    assert.strictEqual(given, 0)
    core.onFrames(() => {})
    assert.strictEqual(given, 100)
    core.onFrames(undefined)
    receive()
    assert.strictEqual(core.takeBacklog().length, 2)
    assert.strictEqual(given, 200)
    assert.strictEqual(core.counts.receiveHighWater, 100)
  })

  it("closed here, ends as closed here, also when the peer was first", () => {
    const { core } = driver()
    core.close()
    core.ended({ kind: "peer-closed", missing: 3 })
    assert.deepStrictEqual(core.end, { kind: "closed", unsent: 0 })
  })

  it("writes each message once, also if the driver comes back while it writes", () => {
    const { core, state } = driver()
    state.within = () => {
      state.within = undefined
      core.send(new Uint8Array(7))
      core.flush()
    }
    core.send(new Uint8Array(10))
    core.flush()
    core.written(10)
    core.flush()
    assert.deepStrictEqual(state.log, ["write 10", "write 7"])
    assert.strictEqual(core.unsent, 7)
  })

  it("says full at the limit, accepted below it, closed after", () => {
    const { core } = driver()
    assert.strictEqual(core.send(new Uint8Array(600)), "accepted")
    assert.strictEqual(core.send(new Uint8Array(401)), "full")
    assert.strictEqual(core.send(new Uint8Array(400)), "accepted")
    core.finish()
    assert.strictEqual(core.send(new Uint8Array(1)), "closed")
  })
})

describe("the load policy", () => {
  const settings = {
    min: 1,
    max: 3,
    startAbove: 0.7,
    parkBelow: 0.1,
    busySamples: 3,
    idleSamples: 5
  }
  const play = (active: number, samples: ReadonlyArray<number>): number => {
    let state = calm
    let now = active
    for (const sample of samples) {
      const [next, change] = sampleLoad(settings, state, now, sample)
      state = next
      now += change
    }
    return now
  }
  const of = (count: number, load: number): Array<number> =>
    Array.from({ length: count }, () => load)

  it("starts after a few busy samples in a row, parks after many idle ones", () => {
    assert.strictEqual(play(1, of(2, 0.9)), 1)
    assert.strictEqual(play(1, of(3, 0.9)), 2)
    assert.strictEqual(play(1, of(60, 0.9)), 3)
    assert.strictEqual(play(3, of(5, 0)), 2)
    assert.strictEqual(play(3, of(50, 0)), 1)
  })

  it("stays as it is between the thresholds, and when the load swings", () => {
    assert.strictEqual(play(2, of(100, 0.4)), 2)
    assert.strictEqual(
      play(
        2,
        of(100, 0).map((_, i) => (i % 2 === 0 ? 0.9 : 0.05))
      ),
      2
    )
  })

  it("comes back within its bounds at once", () => {
    assert.strictEqual(play(0, [0]), 1)
    assert.strictEqual(play(5, [0.9, 0.9]), 3)
  })
})
